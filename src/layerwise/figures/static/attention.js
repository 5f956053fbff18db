// Attention between tokens, block by block and head by head.
function attentionPart(text, all) {
  if (!text.attention) return [note(t("attention.none"))];
  const [blocks, heads, n] = text.attention.shape;
  const names = all.slice(0, n);
  const unknown = names.map((_, token) => Boolean(text.unknown?.[token]));
  const said = names.map((name, token) => (unknown[token] ? spaced(name, t("unknown.said")) : name));
  const state = { block: blocks - 1, head: "mean" };
  const body = el("div", {});
  const value = (row, column) => {
    const at = (head) => text.attention[((state.block * heads + head) * n + row) * n + column] / 255;
    if (state.head !== "mean") return at(Number(state.head));
    let sum = 0;
    for (let head = 0; head < heads; head += 1) sum += at(head);
    return sum / heads;
  };
  const draw = () => {
    const lines = (row, column) => [
      t("attention.cell", { from: said[row], to: said[column] }),
      percent(value(row, column)),
    ];
    let most = 0;
    for (let i = 0; i < n * n; i += 1) most = Math.max(most, value(Math.floor(i / n), i % n));
    body.replaceChildren(
      chart(
        heat({
          rows: names,
          columns: names,
          value,
          range: [0, most || 1],
          lines,
          label: t("attention"),
          numbers: false,
          most: 26,
          axes: [t("attention.from"), t("attention.to")],
          hatched: unknown,
        }),
        { id: "attention" },
      ),
      rampLegend(0, most),
      unknown.some(Boolean) ? unknownKey(t("unknown.key")) : "",
      asTable(() => attentionTable(names, unknown, value)),
    );
  };
  const block = select(
    t("block"),
    Array.from({ length: blocks }, (_, i) => [i, shown(text.attention_layers?.[i] ?? i + 1)]),
    (value) => {
      state.block = Number(value);
      draw();
    },
    { id: "block" },
  );
  block.box.value = state.block;
  const head = select(
    t("head"),
    [["mean", t("head.mean")], ...Array.from({ length: heads }, (_, i) => [i, String(i + 1)])],
    (value) => {
      state.head = value;
      draw();
    },
    { id: "attention-head" },
  );
  draw();
  return [
    el(
      "div",
      { class: "part" },
      el("h3", {}, t("attention")),
      el("div", { class: "row" }, block.label, head.label),
      note(t("attention.hint")),
      n < all.length ? note(t("attention.cut", { shown: n, of: all.length })) : "",
      body,
    ),
  ];
}

/** The three tokens that each token attends to most: a matrix of all would be wider than any page. */
function attentionTable(names, unknown, value) {
  const rows = names.map((name, row) => {
    const order = names
      .map((_, column) => column)
      .sort((a, b) => value(row, b) - value(row, a))
      .slice(0, 3);
    return [
      unknownMark(el("bdi", {}, name), unknown[row]),
      el(
        "span",
        { class: "closest" },
        order.map((column) =>
          el("span", {}, unknownMark(el("bdi", {}, names[column]), unknown[column]), " ", el("small", {}, percent(value(row, column)))),
        ),
      ),
    ];
  });
  return table([t("token"), t("attention.most")], rows, 9);
}
