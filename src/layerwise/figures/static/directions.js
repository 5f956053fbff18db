// Retrieval in every direction: rows are directions, columns are layers.
function directionsPart(analysis) {
  const measures = Object.entries(analysis.directions ?? {});
  if (!measures.length) return "";
  const layers = analysis.layers.map(String);
  const body = el("div", {});
  const show = (name) => body.replaceChildren(...oneOfDirections(layers, name, analysis.directions[name]));
  const pick = select(
    t("measure"),
    measures.map(([name]) => [name, measureName(name)]),
    show,
    { id: "direction-measure" },
  );
  // Files list names in the order of letters.
  const first = "retrieval_cosine" in analysis.directions ? "retrieval_cosine" : measures[0][0];
  pick.box.value = first;
  show(first);
  return el(
    "div",
    { class: "part", id: "directions" },
    el("h3", {}, t("directions")),
    analysis.retrieval?.text ? el("p", { class: "lead" }, noteWord(analysis.retrieval.text)) : "",
    measures.length > 1 ? pick.label : "",
    body,
  );
}

const directionWord = (direction) => shown(direction).replace(">", " → ");

function oneOfDirections(layers, name, measure) {
  const directions = Object.keys(measure.values);
  const rows = directions.map(directionWord);
  const columns = layers.map(shown);
  const value = (r, c) => measure.values[directions[r]]?.[c] ?? null;
  const ends = (r, c) => interval(measure.low?.[directions[r]]?.[c], measure.high?.[directions[r]]?.[c], 3);
  const draw = heat({
    rows,
    columns,
    value,
    range: [0, 1],
    lines: (r, c) => [
      spaced(rows[r], layerWord(layers[c])),
      isNumber(value(r, c)) ? spaced(measureName(name), num(value(r, c), 3), ends(r, c)) : t("undefined"),
    ],
    label: measureName(name),
    axes: ["", t("axis.layer")],
  });
  const make = () =>
    table(
      [t("direction"), t("layer"), measureName(name), t("interval.name")],
      rows.flatMap((row, r) => columns.map((column, c) => [row, column, num(value(r, c), 3), ends(r, c) || "–"])),
      2,
    );
  return [
    chart(draw, { id: "directions-heat" }),
    note(t("measure.source", { unit: unitName(measure.unit), source: noteWord(measure.source) })),
    measure.note ? note(noteWord(measure.note)) : "",
    asTable(make),
  ];
}
