// Words of the interface, and numbers as people write them.
const WORDS = JSON.parse(document.getElementById("words").textContent);
const LOCALE = document.documentElement.lang;
const CHINESE = LOCALE.startsWith("zh");
const PLACEHOLDER = /\{(\w+)\}/g;
const NUMBER_FORMS = /\{(\w+):([^{}|]*)\|([^{}|]*)\}/g;

/** The words of a key, with {names} filled in, `{n:row|rows}` by the value `n`; nothing in them is ever markup. */
function t(key, values = {}) {
  const template = (String(values.n) === "1" ? WORDS[`${key}.one`] : null) ?? WORDS[key] ?? key;
  const words = template.replace(NUMBER_FORMS, (_, name, one, other) => (String(values[name]) === "1" ? one : other));
  if (!CHINESE) return words.replace(PLACEHOLDER, (all, name) => (name in values ? String(values[name]) : all));
  const parts = words.split(PLACEHOLDER);
  return parts.reduce((text, part, i) => beside(text, i % 2 === 0 ? part : String(values[part] ?? `{${part}}`)));
}

/**
 * Two parts of a Chinese sentence with the blanks that its typography asks for between them: one between an ideograph and
 * a Latin letter or a digit, none between ideographs and beside full-width punctuation (`beside` in wording.py).
 */
function beside(left, right) {
  const [before, after] = [left.replace(/ +$/, ""), right.replace(/^ +/, "")];
  if (!before || !after) return left + right;
  const pair = [before.at(-1), after[0]];
  const ideographs = pair.filter((c) => /[\u3400-\u9fff\uf900-\ufaff]/.test(c)).length;
  if (ideographs === 2 || pair.some((c) => /[\u3001-\u303f\uff00-\uffef\u2018-\u201d]/.test(c))) return before + after;
  return ideographs && pair.some((c) => /[A-Za-z0-9²]/.test(c)) ? `${before} ${after}` : left + right;
}

/** Parts of a line, with blanks between them; without those that are missing. */
const spaced = (...parts) =>
  parts.filter(Boolean).reduce((text, part) => (CHINESE ? beside(`${text} `, part) : `${text} ${part}`), "").trim();

/** A name and what it has. */
const entryWord = (name, value) => `${name}${t("colon")}${value}`;

/** Sentences one after the other, without those that are missing. */
const joined = (sentences) => sentences.filter(Boolean).join(CHINESE ? "" : " ");

/** The words of a key where there are any, else what was given. */
const wordsOr = (key, other) => WORDS[key] ?? other;

/**
 * User text as it can be seen: control characters and those that turn the direction of writing as escapes,
 * half surrogate pairs as the replacement character.
 */
function shown(text) {
  const code = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
  return String(text ?? "")
    .replace(
      /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]/g,
      code,
    )
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** What results say of a measure; it comes in the page's language. */
const noteWord = shown;

/** Text of at most so many characters, in one line. */
function short(text, most = 160) {
  const line = shown(text).replace(/\s+/g, " ").trim();
  const letters = Array.from(line.slice(0, 2 * most + 2));
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : line;
}

/** The width of text in letters, of which an ideograph and its punctuation take almost two. */
const lettersWide = (text) =>
  Array.from(text).reduce((wide, c) => wide + (/[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]/.test(c) ? 1.9 : 1), 0);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const count = (value) => (isNumber(value) ? value.toLocaleString(LOCALE) : "–");
const percent = (value, digits = 0) => (isNumber(value) ? `${minus((100 * value).toFixed(digits))}%` : "–");
const minus = (text) => (/^-[0.]*$/.test(text) ? text.slice(1) : text).replace("-", "−");

/**
 * A number in about three digits; a dash where there is none. With `most`, the decimals that are precise, it has no more
 * decimals than these (`rounded` in _util/display.py).
 */
function num(value, most) {
  if (!isNumber(value)) return "–";
  const size = Number(Math.abs(value).toPrecision(3));
  const given = isNumber(most);
  if (size >= 1e6 || (!given && size > 0 && size < 1e-3)) return minus(value.toExponential(1));
  const places = Math.min(given ? most : 3, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return minus(size >= 1000 ? Number(value.toFixed(0)).toLocaleString(LOCALE) : value.toFixed(places));
}

/** A cosine that is stored in steps of 1/127. */
const cosineWord = (value) => num(value, 2);

const interval = (low, high, most) =>
  isNumber(low) && isNumber(high) ? t("interval", { low: num(low, most), high: num(high, most) }) : "";

function size(bytes) {
  if (!isNumber(bytes)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) [bytes, at] = [bytes / 1000, at + 1];
  return `${at && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}

/** The shortest form of a mix, as layerwise gives it: `mean(9:13)` for `mean(9,10,11,12)`. */
const shortMixes = new Map();
const shortMix = (mix) => shown(shortMixes.get(mix) ?? mix);

/** A mix in a sentence: a single layer is named as one. */
const mixWord = (mix) => (/^(emb|([a-z]+\.)?\d+)$/.test(mix) ? layerWord(mix) : shortMix(mix));

/** Names of layers by depth: an object would list `emb` after the numbers. */
const byDepth = (names) => [...names].sort((a, b) => depthOf(a) - depthOf(b));
const IN_BLOCK = { value: 0.75, attention: 0.5, mlp: 0.25 }; // how far before the output of its block a site is
const siteOf = (name) => (/^[a-z]+\.\d+$/.test(name) ? name.split(".")[0] : "");
const depthOf = (name) => (name === "emb" ? 0 : Number(name.split(".").pop()) - (IN_BLOCK[siteOf(name)] ?? 0));
const layerWord = (name) => t("layer.named", { name: shown(name) });
const plainName = (name) => shown(name).replaceAll("_", " ");
const ATTRIBUTE = "leakage_attribute:";
const measureName = (name) =>
  name.startsWith(ATTRIBUTE) ? t("measure.leakage_attribute", { column: `'${shown(name.slice(ATTRIBUTE.length))}'` }) : namedMeasure(name);
const namedMeasure = (name) =>
  name.startsWith("retrieval_") && name.includes(":")
    ? t("measure.direction", {
        name: measureName(name.split(":")[0]),
        direction: shown(name.slice(name.indexOf(":") + 1)).replace(">", " → "),
      })
    : plainMeasureName(name);
const plainMeasureName = (name) =>
  name.startsWith("against_")
    ? t("measure.against", { name: measureName(name.slice(8)) })
    : wordsOr(`measure.${name}`, plainName(name));
const unitName = shown;
