// Geometry of layers: a small chart for every measure that is a number per layer.
function geometrySection(analysis, probe) {
  // Curves show two directions; more of them are cells of colour.
  const isMany = (name) => Object.keys(analysis?.directions?.[name.split(":")[0]]?.values ?? {}).length > 2;
  const measures = measuresOf(analysis, false).filter(([name]) => !isMany(name));
  if (!measures.length && !Object.keys(analysis?.directions ?? {}).length) return section("geometry", t("geometry"), note(t("geometry.none")));
  const layers = analysis.layers.map(String);
  const sampled = analysis.of !== analysis.rows || measures.some(([, measure]) => measure.low?.some(isNumber));
  const lead = t(sampled ? "geometry.lead" : "geometry.lead.all", {
    rows: count(analysis.rows),
    of: count(analysis.of),
    seed: analysis.seed ?? "–",
  });
  const box = section(
    "geometry",
    t("geometry"),
    el("p", { class: "lead" }, lead),
    layers.some(siteOf) ? keys(siteKeys(layers)) : "",
    el(
      "div",
      { class: "many" },
      measures.map(([name, measure]) => small(layers, name, measure)),
    ),
  );
  const leaks = measures.filter(([name]) => name.startsWith("leakage_"));
  if (leaks.length) box.append(leakagePart(layers, leaks, probe));
  box.append(directionsPart(analysis));
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

function small(layers, name, measure) {
  const usable = (list) => list?.map((value, i) => (isUsable(measure, i) ? value : null));
  const values = usable(measure.values);
  const some = values.some(isNumber);
  const gaps = values.some((value) => !isNumber(value));
  const banded = measure.low?.some(isNumber) && measure.high?.some(isNumber);
  const [low, high] = banded ? [usable(measure.low), usable(measure.high)] : [null, null];
  const decimals = measure.scale?.decimals;
  const within = measure.scale?.floor_within;
  const draw = layerLines({
    layers,
    series: [{ name: measureName(name), values, low, high }],
    unit: "",
    high: 150,
    label: measureName(name),
    ends: measure.scale?.ends,
    floor: within ? measure.floor : null,
    decimals,
  });
  const make = () =>
    table(
      [
        t("layer"),
        measureName(name),
        ...(banded ? [t("interval.name")] : []),
        ...(measure.floor ? [floorName(measure)] : []),
      ],
      layers.map((layer, i) => [
        shown(layer),
        measureWord(measure, measure.values[i], isUsable(measure, i)),
        ...(banded ? [interval(measure.low[i], measure.high[i], decimals) || "–"] : []),
        ...(measure.floor ? [num(measure.floor[i], 3)] : []),
      ]),
    );
  const floor = floorWords(measure);
  const below = measure.floor?.some((value) => value < measure.scale?.ends[0]);
  return el(
    "figure",
    { class: "small" },
    el("figcaption", {}, el("strong", {}, measureName(name)), el("small", {}, unitName(measure.unit))),
    cautionOf(measure) ?? "",
    some ? chart(draw) : measure.caution ? "" : note(t("undefined")),
    floor && some ? note(t(within ? "floor.dashed" : below ? "floor.below" : "floor.above", { words: floor })) : "",
    el(
      "p",
      { class: "note said" },
      [noteWord(measure.source), measure.note && noteWord(measure.note), some && gaps && t("undefined.note")]
        .filter(Boolean)
        .join(" · "),
    ),
    measure.values.some(isNumber) ? asTable(make) : "",
  );
}

/** The dominant dimensions of every layer. */
function dimensionTable(by) {
  const most = 5;
  const words = (entry) =>
    `${entry.dimension} (${isNumber(entry.share) ? percent(entry.share) : isNumber(entry.eta2) ? `η² ${num(entry.eta2)}` : `F ${num(entry.f)}`})`;
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
