// Two layers side by side: the same points in the same marks, the neighbours of the chosen point at each of the
// layers, and what every measure says of the pair.
function compareSection(scene, analysis) {
  const layers = scene.layers;
  const result = el("div", { id: "pair" });
  const near = el("div", { id: "pair-near" });
  let pair = scene.pair;
  let turn = 0;
  const picks = [0, 1].map((side) =>
    select(
      t(side ? "compare.right" : "compare.left"),
      layers.map((name, i) => [i, layerWord(name)]),
      (value) => {
        const chosen = Number(value);
        // A layer beside itself shows nothing: the layer of the other side gives way to this one's.
        const other = chosen === pair[1 - side] ? pair[side] : pair[1 - side];
        show(side ? [other, chosen] : [chosen, other]).catch(report);
      },
      { id: `side-${side}` },
    ),
  );
  const maps = [0, 1].map(
    (side) =>
      new PointMap(scene, t(side ? "compare.right" : "compare.left"), {
        hover: (point, event) => {
          // What is hovered in one is ringed in the other.
          maps[1 - side].hovered = point;
          maps[1 - side].invalidate();
          hoverTip(scene, point, event);
        },
        pick: (point) => scene.choose(point),
      }),
  );
  const close = el("button", { type: "button", onclick: () => (box.hidden = true) }, t("close"));
  const box = section(
    "compare",
    t("compare"),
    el("div", { class: "row" }, picks[0].label, picks[1].label, close),
    el(
      "div",
      { class: "twin" },
      maps.map((map, side) => el("figure", {}, el("figcaption", { id: `caption-${side}` }), map.canvas)),
    ),
    near,
    result,
  );
  box.hidden = true;
  /** Rings and lists the neighbours of the chosen point. */
  const drawNear = async () => {
    if (box.hidden) return;
    const mine = (turn += 1);
    const point = scene.chosen;
    for (const map of maps) map.ring([]);
    if (point === null) {
      near.replaceChildren(note(t("compare.choose")));
      return;
    }
    const [hit, sides] = await Promise.all([scene.source.text(point), nearestAt(scene, point, pair)]);
    if (mine !== turn) return;
    if (sides) maps.forEach((map, side) => map.ring(ringsOf(sides[side])));
    near.replaceChildren(
      el("div", { class: "card chosen-here" }, textOf(hit, 300)),
      ...(sides ? neighbourLists(scene, pair, sides) : [note(t("near.none"))]),
    );
  };
  const redraw = () => drawNear().catch(report);
  for (const change of ["choose", "colour", "theme"]) scene.on(change, redraw);
  const show = async (wanted) => {
    pair = wanted;
    pair.forEach((layer, side) => {
      picks[side].box.value = layer;
      maps[side].go(layer);
      $(`caption-${side}`).textContent = layerWord(layers[layer]);
    });
    redraw();
    announce(t("said.compare", { a: layerWord(layers[pair[0]]), b: layerWord(layers[pair[1]]) }));
    const shared = await scene.source.shared(...wanted);
    if (pair !== wanted) return;
    const rows = pairRows(scene, analysis, pair, shared);
    // Without intervals their column would push the units off a narrow page.
    const banded = rows.some(([, , between]) => between !== "–");
    const kept = (row) => row.filter((_, i) => banded || i !== 2);
    result.replaceChildren(
      rows.length
        ? table(kept([t("measure"), t("value"), t("interval.name"), t("unit")]), rows.map(kept))
        : note(t("compare.none")),
    );
  };
  /** Opens with two layers, by name; with a layer's partner in place of itself, and without names as at first. */
  const open = (a = layers[scene.pair[0]], b = layers[scene.pair[1]]) => {
    const at = [a, b].map((name) => layers.indexOf(name));
    if (at.some((layer) => layer < 0)) return;
    box.hidden = false;
    const other = partnerOf(at[0], scene);
    show(at[0] === at[1] ? [at[0], other].sort((a, b) => a - b) : at).catch(report);
    box.scrollIntoView({ block: "nearest", behavior: STILL.matches ? "auto" : "smooth" });
    $("compare-title").setAttribute("tabindex", -1);
    $("compare-title").focus({ preventScroll: true });
  };
  return { box, open, maps };
}

/** What is known of two layers: every measure of a pair, and how many neighbours they share. */
function pairRows(scene, analysis, pair, shared) {
  const names = (analysis?.layers ?? []).map(String);
  const [r, c] = pair.map((layer) => names.indexOf(scene.layers[layer]));
  const rows =
    r < 0 || c < 0
      ? []
      : measuresOf(analysis, true).map(([name, measure]) => [
          isUsable(measure, r, c) ? measureName(name) : t("measure.unusable", { name: measureName(name) }),
          pairWord(measure, r, c),
          pairInterval(measure, r, c) || "–",
          unitName(measure.unit),
        ]);
  if (isNumber(shared)) {
    const { k } = scene.points.neighbours;
    rows.push([t("compare.shared"), num(shared * k), "–", t("compare.of", { k })]);
  }
  return rows;
}
