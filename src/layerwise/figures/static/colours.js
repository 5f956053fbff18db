// What tells points apart: a mark (marks.js) for every class; viridis for numbers.
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

/** The part of viridis whose contrast to the ground of the map is at least 3. */
const VISIBLE = { light: [0, 0.58], dark: [0.36, 1] };
/** The colour at 0 … 1 of points. */
function pointRamp(share) {
  const [low, high] = VISIBLE[theme()];
  return ramp(low + share * (high - low));
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

/** How many points each value of a column has, the most frequent first: [[code, count], …]; `missing` those without. */
function frequencies(column) {
  const counts = new Map();
  for (const code of column.codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  const missing = counts.get(MISSING) ?? 0;
  counts.delete(MISSING);
  return { order: [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]), missing };
}

/** The place that the reader's choices take in turn: those of the rarest first, never that of the most frequent. */
const slotOf = (turn) => CLASSES - 1 - (turn % (CLASSES - 1));
const className = (column, code) => column.values[code] || t("empty");

/**
 * Groups of points: `of` the group of each point, `groups` with `name`, `mark` and `count`, and `others`.
 * The most frequent values have a mark each, then come all others, then the points without a value. `picked` are
 * values that the reader wants to see: they take the marks of the rarest of the frequent ones.
 */
function byCategory(column, picked = []) {
  const { order, missing } = frequencies(column);
  const counts = new Map(order);
  const slots = order.slice(0, CLASSES).map(([code]) => code);
  picked.forEach((code, turn) => (slots[slotOf(turn)] = code));
  const most = order[0]?.[1] ?? 0;
  const groups = slots.map((code, place) => ({
    name: className(column, code),
    code,
    mark: markOf(place, slots.length),
    count: counts.get(code),
    rare: counts.get(code) * 10 < most,
  }));
  const place = new Map(slots.map((code, i) => [code, i]));
  const others = order.filter(([code]) => !place.has(code));
  if (others.length) {
    for (const [code] of others) place.set(code, groups.length);
    groups.push({
      name: t("others", { n: count(others.length) }),
      mark: { colour: REST, shape: "dot" },
      count: others.reduce((sum, [, n]) => sum + n, 0),
    });
  }
  const empty = missing ? groups.length : -1;
  if (missing) {
    place.set(MISSING, empty);
    groups.push({ name: t("no.value"), mark: { colour: NONE, shape: "cross" }, count: missing });
  }
  return { groups, others, empty, of: Uint16Array.from(column.codes, (code) => place.get(code)) };
}

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
