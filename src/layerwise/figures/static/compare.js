// Two layers side by side: the same points in the same colours, and what every measure says of the pair.
function compareSection(scene, analysis) {
  const layers = scene.layers;
  const result = el("div", { id: "pair" });
  const picks = [0, 1].map((side) =>
    select(
      t(side ? "compare.right" : "compare.left"),
      layers.map((name, i) => [i, layerWord(name)]),
      () => show(),
      { id: `side-${side}` },
    ),
  );
  const maps = [0, 1].map(
    (side) =>
      new PointMap(scene, t(side ? "compare.right" : "compare.left"), {
        hover: (point, event) => hoverTip(scene, point, event),
        pick: (point) => scene.choose(point),
      }),
  );
  // What is hovered in one is ringed in the other.
  maps.forEach((map, side) => {
    const showTip = map.act.hover;
    map.act.hover = (point, event) => {
      maps[1 - side].hovered = point;
      maps[1 - side].invalidate();
      showTip(point, event);
    };
  });
  const words = el("div", { class: "card chosen-here" });
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
    words,
    result,
  );
  box.hidden = true;
  scene.on("choose", async () => {
    const point = scene.chosen;
    words.hidden = point === null;
    if (point !== null) words.replaceChildren(textOf(await scene.source.text(point), 300));
  });
  words.hidden = true;
  const show = async () => {
    const pair = picks.map((pick) => Number(pick.box.value));
    pair.forEach((layer, side) => {
      maps[side].go(layer);
      $(`caption-${side}`).textContent = layerWord(layers[layer]);
    });
    const shared = await scene.source.shared(...pair);
    const names = (analysis?.layers ?? []).map(String);
    const [r, c] = pair.map((layer) => names.indexOf(layers[layer]));
    const rows =
      r < 0 || c < 0
        ? []
        : measuresOf(analysis, true).map(([name, measure]) => [
            measureName(name),
            pairWord(measure, r, c),
            pairInterval(measure, r, c) || "–",
            unitName(measure.unit),
          ]);
    if (isNumber(shared))
      rows.push([
        t("compare.shared"),
        num(shared * scene.points.neighbours.k),
        "–",
        t("compare.of", { k: scene.points.neighbours.k }),
      ]);
    result.replaceChildren(
      rows.length
        ? table([t("measure"), t("value"), t("interval.name"), t("unit")], rows)
        : note(t("compare.none")),
    );
    announce(t("said.compare", { a: layerWord(layers[pair[0]]), b: layerWord(layers[pair[1]]) }));
  };
  /** Opens with two layers, by name. */
  const open = (a, b) => {
    const at = [a, b].map((name) => layers.indexOf(name));
    if (at.some((layer) => layer < 0)) return;
    picks.forEach((pick, side) => (pick.box.value = at[side]));
    box.hidden = false;
    show().catch(report);
    box.scrollIntoView({ block: "nearest", behavior: STILL.matches ? "auto" : "smooth" });
    $("compare-title").setAttribute("tabindex", -1);
    $("compare-title").focus({ preventScroll: true });
  };
  return { box, open };
}
