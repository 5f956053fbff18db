// One text: its pieces by layers, the way of each, and what each is close to.
const CLOSE = 5;

function piecesSection(head) {
  const texts = head.pieces ?? [];
  if (!texts.length)
    return section(
      "pieces",
      t("pieces"),
      note(head.pieces_note ? t("pieces.why", { why: shown(head.pieces_note) }) : t("pieces.none")),
    );
  const layers = (head.about?.layers ?? []).map(String);
  const body = el("div", {});
  const show = (at) => body.replaceChildren(...oneText(texts[at], layers));
  const pick = select(
    t("pieces.text"),
    texts.map((one, i) => [i, short(one.text ?? t("text.n", { n: one.doc }), 70)]),
    (value) => show(Number(value)),
    { id: "which-text" },
  );
  show(0);
  return section("pieces", t("pieces"), el("p", { class: "lead" }, t("pieces.lead")), pick.label, body);
}

function oneText(one, layers) {
  const n = one.pieces.length;
  const names = one.pieces.map(
    (piece, p) => short(piece, 24) || (one.special?.[p] ? t("piece.special") : t("piece.n", { n: p })),
  );
  const state = {
    piece: Math.max(0, one.special ? one.special.indexOf(false) : 0),
    mode: one.moves?.length ? "moves" : "norms",
  };
  const strip = el("div", { id: "strip" });
  const close = el("div", { id: "close-pieces" });
  const way = chart((wide) => wayChart(wide, one, names, layers, state), { id: "ways" });
  const draw = () => {
    strip.replaceChildren(stripTable(one, names, layers, state, choose));
    close.replaceChildren(
      el("h3", {}, t("pieces.close", { piece: names[state.piece] })),
      closeTable(one, names, layers, state.piece),
    );
    way.drawn = null;
    way.redraw();
  };
  const choose = (piece) => {
    state.piece = piece;
    draw();
    strip.querySelector(`[data-piece="${piece}"]`)?.focus({ preventScroll: true });
    announce(t("said.piece", { piece: names[piece] }));
  };
  const modes = ["moves", "norms", "near"].filter((mode) => mode !== "moves" || one.moves?.length);
  const mode = select(
    t("pieces.colour"),
    modes.map((name) => [name, t(`pieces.${name}`)]),
    (value) => {
      state.mode = value;
      draw();
    },
    { id: "strip-colour" },
  );
  draw();
  const cut = isNumber(one.count) && one.count > n ? note(t("pieces.cut", { n, of: count(one.count) })) : "";
  return [
    one.text === null || one.text === undefined
      ? ""
      : el("p", { class: "whole said", dir: "auto" }, short(one.text, 1200)),
    cut,
    el(
      "div",
      { class: "halves" },
      el("div", {}, el("h3", {}, t("pieces.strip")), mode.label, strip, note(t("pieces.hint"))),
      el("div", {}, el("h3", {}, t("pieces.way")), way, note(t("pieces.way.hint")), close),
    ),
    ...attentionPart(one, names),
  ];
}

/** What a cell of the strip shows, null where there is nothing. */
function stripValue(one, state, layer, piece) {
  const n = one.pieces.length;
  if (state.mode === "norms") return one.norms[layer * n + piece];
  if (state.mode === "near") return one.cosines[(layer * n + state.piece) * n + piece] / 127;
  return layer ? 1 - one.moves[(layer - 1) * n + piece] : null;
}

/** Pieces by layers, a real table whose cells are coloured. */
function stripTable(one, names, layers, state, choose) {
  const all = layers.map((_, layer) => names.map((_, piece) => stripValue(one, state, layer, piece)));
  const flat = all.flat().filter(isNumber);
  const range = [Math.min(...flat), Math.max(...flat)];
  const rows = names.map((name, piece) => {
    const button = el(
      "button",
      {
        type: "button",
        class: one.special?.[piece] ? "piece special" : "piece",
        "data-piece": piece,
        "aria-pressed": String(piece === state.piece),
        onclick: () => choose(piece),
      },
      el("bdi", {}, name),
    );
    const cells = layers.map((_, layer) => {
      const value = all[layer][piece];
      const cell = el("td", { class: "heat" }, isNumber(value) ? brief(value) : "–");
      if (isNumber(value)) {
        const colour = ramp((value - range[0]) / (range[1] - range[0] || 1));
        cell.style.background = css(colour);
        cell.style.color = over(colour);
      }
      return cell;
    });
    return el("tr", {}, el("th", { scope: "row" }, button), cells);
  });
  const header = el(
    "tr",
    {},
    el("th", { scope: "col" }, t("piece")),
    layers.map((name) => el("th", { scope: "col" }, shown(name))),
  );
  return el(
    "div",
    { class: "scroll tall", tabindex: 0, role: "group", "aria-label": t("pieces.strip") },
    el("table", { class: "strip" }, el("thead", {}, header), el("tbody", {}, rows)),
  );
}

/** The way of every piece over the layers; the chosen one stands out, its end is named. */
function wayChart(wide, one, names, layers, state) {
  const n = names.length;
  const high = Math.min(420, Math.max(260, wide * 0.7));
  const sides = [0, 1].map((axis) => ends(one.coords.filter((_, i) => i % 2 === axis)) ?? [0, 0]);
  const [mx, my] = sides.map(([low, high]) => (low + high) / 2);
  const scale = Math.min(
    (wide - 70) / (sides[0][1] - sides[0][0] || 1),
    (high - 60) / (sides[1][1] - sides[1][0] || 1),
  );
  const place = (layer, piece) => {
    const at = 2 * (layer * n + piece);
    return [wide / 2 + (one.coords[at] - mx) * scale, high / 2 - (one.coords[at + 1] - my) * scale];
  };
  const path = (piece) =>
    layers
      .map((_, layer) =>
        place(layer, piece)
          .map((at) => at.toFixed(1))
          .join(","),
      )
      .join(" ");
  const order = names.map((_, piece) => piece).filter((piece) => piece !== state.piece);
  const body = order.map((piece) => svg("polyline", { class: "way", points: path(piece) }));
  const marks = [...order, state.piece].map((piece) => {
    const [x, y] = place(layers.length - 1, piece);
    const mine = piece === state.piece;
    return tell(
      svg(
        "g",
        { class: "mark", role: "img" },
        svg("circle", { cx: x, cy: y, r: mine ? 5 : 3, class: mine ? "dot ink1" : "dot faded" }),
        svg("circle", { cx: x, cy: y, r: 9, class: "touch" }),
      ),
      names[piece],
    );
  });
  roving(marks);
  const steps = layers.map((name, layer) => {
    const [x, y] = place(layer, state.piece);
    const crowded = layer && layer < layers.length - 1 && layers.length > 9 && layer % 3;
    return svg(
      "g",
      {},
      svg("circle", { cx: x, cy: y, r: 2.5, class: "dot ink1" }),
      crowded ? "" : words(x + 6, y - 5, shown(name), { class: "tick" }),
    );
  });
  const [x, y] = place(layers.length - 1, state.piece);
  const name = words(Math.min(Math.max(x, 40), wide - 40), Math.min(y + 19, high - 4), names[state.piece], {
    class: "way-name",
    "text-anchor": "middle",
  });
  return sheet(
    wide,
    high,
    t("pieces.way"),
    body,
    svg("polyline", { class: "way chosen", points: path(state.piece) }),
    marks,
    steps,
    name,
  );
}

/** The closest other pieces at every layer. */
function closeTable(one, names, layers, piece) {
  const n = names.length;
  const rows = layers.map((name, layer) => {
    const from = (layer * n + piece) * n;
    const order = names
      .map((_, other) => other)
      .filter((other) => other !== piece)
      .sort((a, b) => one.cosines[from + b] - one.cosines[from + a]);
    return [
      shown(name),
      el(
        "span",
        { class: "closest" },
        order
          .slice(0, CLOSE)
          .map((other) =>
            el(
              "span",
              {},
              el("bdi", {}, names[other]),
              " ",
              el("small", {}, num(one.cosines[from + other] / 127)),
            ),
          ),
      ),
    ];
  });
  return table([t("layer"), t("pieces.closest")], rows, 9);
}
