// Word alignment: the words of a sentence pair in two lines, with a line for each link.
const WORD_GAP = 14;
const ROW_GAP = 110;

function linksPart(links) {
  if (!links?.pairs?.length) return "";
  const state = { pair: 0, method: links.methods[0], layer: links.layers.at(-1) };
  const body = el("div", {});
  const draw = () => body.replaceChildren(...linkedPair(links.pairs[state.pair], state));
  const pick = (label, id, options, key) => {
    const made = select(
      label,
      options,
      (value) => {
        state[key] = key === "pair" ? Number(value) : value;
        draw();
      },
      { id },
    );
    made.box.value = state[key];
    return made.label;
  };
  draw();
  return section(
    "links",
    t("links"),
    el("p", { class: "lead" }, t("links.lead")),
    links.more ? note(t("links.more", { n: links.pairs.length })) : "",
    el(
      "div",
      { class: "row" },
      pick(
        t("links.pair"),
        "links-pair",
        links.pairs.map((pair, at) => [at, short(pair.a.join(" "), 60)]),
        "pair",
      ),
      pick(
        t("links.method"),
        "links-method",
        links.methods.map((name) => [name, shown(name)]),
        "method",
      ),
      pick(
        t("layer"),
        "links-layer",
        links.layers.map((name) => [name, shown(name)]),
        "layer",
      ),
    ),
    body,
  );
}

/** Where the words of a line begin, how wide they are, and where the line ends. */
function wordSpots(line) {
  let at = 8;
  const spots = line.map((word) => {
    const wide = 8.2 * lettersWide(word) + 2;
    const spot = { word, x: at + wide / 2 };
    at += wide + WORD_GAP;
    return spot;
  });
  return { spots, end: at };
}

/** How many words of each side are left out; the longer side has as many as there is room for. */
function leftOut({ a, b, cut }) {
  return t("links.cut", { a: cut[0], b: cut[1], most: Math.max(a.length, b.length) });
}

function linkedPair(pair, { method, layer }) {
  const links = pair.links[method]?.[layer] ?? [];
  const [a, b] = [wordSpots(pair.a.map((word) => short(word, 40))), wordSpots(pair.b.map((word) => short(word, 40)))];
  const marks = links.map(([i, j]) =>
    svg("line", { x1: a.spots[i].x, y1: 28, x2: b.spots[j].x, y2: ROW_GAP - 16, class: "word-link" }),
  );
  const names = [
    ...a.spots.map(({ word, x }) => words(x, 20, word, { class: "linked-word", "text-anchor": "middle" })),
    ...b.spots.map(({ word, x }) => words(x, ROW_GAP, word, { class: "linked-word", "text-anchor": "middle" })),
  ];
  const wide = Math.max(a.end, b.end);
  const make = () =>
    table(
      [t("links.a"), t("links.b")],
      links.map(([i, j]) => [shown(pair.a[i]), shown(pair.b[j])]),
      2,
    );
  return [
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": t("links") },
      sheet(wide, ROW_GAP + 14, t("links"), marks, names),
    ),
    links.length ? "" : note(t("links.none")),
    pair.cut?.some(Boolean) ? note(leftOut(pair)) : "",
    asTable(make),
  ];
}
