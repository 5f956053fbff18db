// How points are drawn: every class has a colour and a shape. Colours differ for readers with any kind of colour
// blindness and have a contrast of at least 3 to both grounds (tests/figures/test_page_map.py computes both).
const CALM = { light: "#7f93a8", dark: "#66788a" }; // of the most frequent class
const LOUD = {
  light: ["#ff04ea", "#2700f5", "#00a85e", "#671200", "#a49307", "#782f7f", "#150f23"],
  dark: ["#ffaeef", "#0099ff", "#4df37b", "#d8040f", "#fff942", "#8823ff", "#c1ffd4"],
};
const PLAIN = { light: "#0072b2", dark: "#3f9fe0" }; // of all points, without a column
const REST = { light: "#8a8a8a", dark: "#8a8a8a" };
const NONE = { light: "#949494", dark: "#70757a" };
const SHAPES = ["square", "up", "diamond", "down", "plus"];
const CLASSES = 15; // classes that have a mark of their own; more can't be told apart

const turned = (corners) => corners.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]);
const round = (radius) =>
  Array.from({ length: 24 }, (_, i) => [radius * Math.cos((i * Math.PI) / 12), radius * Math.sin((i * Math.PI) / 12)]);
/** A plus with arms of a length and half a width. */
const arms = (long, half) => [
  ...[[-half, -long], [half, -long], [half, -half], [long, -half], [long, half], [half, half]],
  ...[[half, long], [-half, long], [-half, half], [-long, half], [-long, -half], [-half, -half]],
];
const TRIANGLE = [[0, -1.25], [1.15, 0.85], [-1.15, 0.85]];
/** Corners of shapes whose size is 1, y downwards. */
const OUTLINES = {
  disc: round(1),
  dot: round(0.65),
  square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  up: TRIANGLE,
  diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
  down: TRIANGLE.map(([x, y]) => [x, -y]),
  plus: arms(1.25, 0.45),
  cross: turned(arms(1.25, 0.3)),
};

/**
 * The mark of the class at a place in the order of frequency: the most frequent one is calm; the others take loud
 * colours, the rarest first. Numbers of colours and shapes have no common divisor, so no two of 15 are alike.
 */
function markOf(place, classes) {
  if (place === 0) return { colour: CALM, shape: "disc" };
  const turn = classes - 1 - place;
  const colour = turn % LOUD.light.length;
  return {
    colour: { light: LOUD.light[colour], dark: LOUD.dark[colour] },
    shape: SHAPES[turn % SHAPES.length],
  };
}

/** How far (x, y) is outside of a polygon; negative within. */
function distanceTo(corners, x, y) {
  let [inside, least] = [false, Infinity];
  corners.forEach(([ax, ay], i) => {
    const [bx, by] = corners[(i + 1) % corners.length];
    const [dx, dy] = [bx - ax, by - ay];
    const share = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)));
    least = Math.min(least, Math.hypot(x - ax - share * dx, y - ay - share * dy));
    if (ay > y !== by > y && x < ax + (dx * (y - ay)) / dy) inside = !inside;
  });
  return inside ? -least : least;
}

/** A shape as offsets into pixels: those that it covers, and those that its edge half covers. */
function stamp(shape, radius, stride) {
  const corners = OUTLINES[shape].map(([x, y]) => [x * radius, y * radius]);
  const [inner, edge] = [[], []];
  const reach = Math.ceil(1.3 * radius);
  for (let y = -reach; y <= reach; y += 1) {
    for (let x = -reach; x <= reach; x += 1) {
      const out = distanceTo(corners, x, y);
      if (out <= -0.35 || (!x && !y)) inner.push(y * stride + x);
      else if (out < 0.45) edge.push(y * stride + x);
    }
  }
  return { inner: Int32Array.from(inner), edge: Int32Array.from(edge) };
}

/**
 * The numbers of points in the order in which they are drawn. The last rounds take one point of each class, so that
 * a class with n points never lies under more than n of another; classes are `of` points, `counts` their sizes.
 */
function drawingOrder(of, counts, bottom = -1) {
  const n = of.length;
  const members = counts.map(() => []);
  const step = stepOf(n);
  for (let turn = 0, i = 0; turn < n; turn += 1, i = (i + step) % n) members[of[i]].push(i);
  const order = new Uint32Array(n);
  let at = 0;
  for (const i of members[bottom] ?? []) order[at++] = i;
  const groups = members.filter((_, group) => group !== bottom).sort((a, b) => b.length - a.length);
  for (let left = groups[0]?.length ?? 0; left > 0; left -= 1)
    for (const group of groups) {
      if (group.length < left) break;
      order[at++] = group[group.length - left];
    }
  return order;
}

/** A step that goes to every one of n places once, far from each to the next: no order of the rows is left. */
function stepOf(n) {
  const common = (a, b) => (b ? common(b, a % b) : a);
  let step = Math.max(1, Math.round(0.618 * n));
  while (common(n, step) > 1) step += 1;
  return step;
}

const RINGS = { kept: round(1), lost: [[-1, -1], [1, -1], [1, 1], [-1, 1]], gained: TRIANGLE };

/** The outline of a ring: a circle, but a square for a lost neighbour, a triangle for a gained one. */
function ringPath(kind, x, y, radius) {
  const path = new Path2D();
  const corners = RINGS[kind];
  if (!corners || kind === "kept") path.arc(x, y, radius, 0, 7);
  else {
    corners.forEach(([dx, dy], i) => path[i ? "lineTo" : "moveTo"](x + 1.1 * radius * dx, y + 1.1 * radius * dy));
    path.closePath();
  }
  return path;
}

/** A mark as a small picture, within the ring of a kind of neighbour; either may be null. `label` is for screen readers. */
function markIcon(mark, kind = null, label = null) {
  const outline = (corners, size, attributes) =>
    svg("polygon", {
      points: corners.map(([x, y]) => `${(size * x).toFixed(1)},${(size * y).toFixed(1)}`).join(" "),
      ...attributes,
    });
  return svg(
    "svg",
    {
      viewBox: kind ? "-9 -9 18 18" : "-6 -6 12 12",
      class: kind ? "dot ringed" : "dot",
      ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }),
    },
    kind && outline(RINGS[kind], 7, { class: "ring" }),
    mark && outline(OUTLINES[mark.shape], kind ? 3.4 : 4.3, { fill: css(mark.colour) }),
  );
}
