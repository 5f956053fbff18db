// The shape of layers: a small chart for every measure that is a number per layer.
function geometrySection(analysis) {
  const found = measuresOf(analysis, false);
  if (!found.length) return section("geometry", t("geometry"), note(t("geometry.none")));
  const layers = analysis.layers.map(String);
  const lead = t("geometry.lead", {
    rows: count(analysis.rows),
    of: count(analysis.of),
    seed: analysis.seed ?? "–",
  });
  const box = section(
    "geometry",
    t("geometry"),
    el("p", { class: "lead" }, lead),
    el(
      "div",
      { class: "many" },
      found.map(([name, one]) => small(layers, name, one)),
    ),
  );
  const dimensions = Object.entries(analysis.dimensions ?? {}).filter(
    ([, by]) => by && Object.values(by).some((list) => list?.length),
  );
  for (const [name, by] of dimensions)
    box.append(
      el(
        "div",
        { class: "part" },
        el("h3", {}, t(`dimensions.${name}`)),
        note(t(`dimensions.${name}.note`)),
        dimensionTable(by),
      ),
    );
  return box;
}

function small(layers, name, one) {
  const some = one.values.some(isNumber);
  const gaps = one.values.some((value) => !isNumber(value));
  const banded = one.low?.some(isNumber) && one.high?.some(isNumber);
  const series = [
    {
      name: measureName(name),
      values: one.values,
      low: banded ? one.low : null,
      high: banded ? one.high : null,
    },
  ];
  const make = () =>
    table(
      [t("layer"), measureName(name), ...(banded ? [t("interval.name")] : [])],
      layers.map((layer, i) => [
        shown(layer),
        num(one.values[i]),
        ...(banded ? [interval(one.low[i], one.high[i]) || "–"] : []),
      ]),
    );
  return el(
    "figure",
    { class: "small" },
    el("figcaption", {}, el("strong", {}, measureName(name)), el("small", {}, unitName(one.unit))),
    some
      ? chart(layerLines({ layers, series, unit: "", high: 150, label: measureName(name) }))
      : note(t("undefined")),
    el(
      "p",
      { class: "note said" },
      [noteWord(one.source), one.note && noteWord(one.note), some && gaps && t("undefined.note")]
        .filter(Boolean)
        .join(" · "),
    ),
    some ? asTable(make) : "",
  );
}

/** The foremost dimensions of every layer. */
function dimensionTable(by) {
  const most = 5;
  const words = (one) =>
    `${one.dimension} (${isNumber(one.share) ? percent(one.share) : isNumber(one.eta2) ? `η² ${num(one.eta2)}` : `F ${num(one.f)}`})`;
  return table(
    [t("layer"), ...Array.from({ length: most }, (_, i) => t("nth", { n: i + 1 }))],
    byDepth(Object.keys(by))
      .map((layer) => [layer, by[layer]])
      .map(([layer, list]) => [
        shown(layer),
        ...Array.from({ length: most }, (_, i) => (list?.[i] ? words(list[i]) : "–")),
      ]),
  );
}
