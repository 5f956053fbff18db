// What tells points apart: Okabe and Ito's colours (2008) for categories, the most frequent first; viridis for numbers.
const INKS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1a1a1a", "#d9c400"],
  dark: ["#3f9fe0", "#e8702a", "#1fb98c", "#dd92bb", "#f0b030", "#8fd0f7", "#f2f2f2", "#f0e442"],
};
const REST = { light: "#8a8a8a", dark: "#8a8a8a" };
const NONE = { light: "#c4c4c4", dark: "#565656" };
const VIRIDIS = [
  "#440154",
  "#482878",
  "#3e4a89",
  "#31688e",
  "#26828e",
  "#1f9e89",
  "#35b779",
  "#6ece58",
  "#b5de2b",
  "#fde725",
];
const MISSING = 65535;

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** The colour at 0 … 1 of viridis, as [r, g, b]. */
function ramp(share) {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const [a, b] = [rgb(VIRIDIS[low]), rgb(VIRIDIS[low + 1])];
  return a.map((value, i) => Math.round(value + (b[i] - value) * (at - low)));
}

const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
/** Relative luminance, as WCAG 2.2 defines it. */
const luminance = (colour) =>
  colour
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
/** Black or white, whichever has more contrast with a colour: at least 4.58. */
const over = (colour) => ((luminance(colour) + 0.05) ** 2 > 0.05 * 1.05 ? "#000" : "#fff");
const pixel = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const mixed = (a, b, share) => a.map((value, i) => Math.round(value * (1 - share) + b[i] * share));
const theme = () =>
  document.documentElement.dataset.theme ??
  (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

/**
 * Groups of points: `of` the group of each point, `groups` with `name` and a `place` in the palette.
 * The eight most frequent values stand for themselves, then all others, then those without a value.
 */
function byCategory(column) {
  const counts = new Map();
  for (const code of column.codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  const missing = counts.get(MISSING) ?? 0;
  counts.delete(MISSING);
  const order = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  const groups = order.slice(0, 8).map((code, place) => ({
    name: column.values[code] || t("empty"),
    place,
    count: counts.get(code),
    of: code,
  }));
  const others = order.slice(8);
  const place = new Map(groups.map((group, i) => [group.of, i]));
  if (others.length) {
    others.forEach((code) => place.set(code, groups.length));
    groups.push({
      name: t("others", { n: count(others.length) }),
      place: "rest",
      count: others.reduce((sum, code) => sum + counts.get(code), 0),
    });
  }
  if (missing) {
    place.set(MISSING, groups.length);
    groups.push({ name: t("no.value"), place: "none", count: missing });
  }
  return { groups, of: Uint16Array.from(column.codes, (code) => place.get(code)) };
}

const groupColour = (group) =>
  rgb(
    typeof group.place === "number"
      ? INKS[theme()][group.place]
      : (group.place === "rest" ? REST : NONE)[theme()],
  );

/** The ends of a column of numbers, missing ones left out. */
function ends(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high && Number.isFinite(low) && Number.isFinite(high) ? [low, high] : null;
}

/** What a point has in a column, in words. */
function valueOf(column, point) {
  if (column.kind === "number") {
    const value = column.values[point];
    return Number.isInteger(value) ? count(value) : num(value);
  }
  const code = column.codes[point];
  return code === MISSING ? "–" : short(column.values[code], 60);
}
