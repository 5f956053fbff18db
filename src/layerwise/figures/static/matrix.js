// Matrices as cells of colour: likeness of layers, and attention.

/** Cells: `value(row, column)`, `lines(row, column)` their words, `pick(row, column)` what a click does. */
function heat({ rows, columns, value, range, lines, pick, label, numbers = true, most = 56, axes, hatched = [] }) {
  return (wide) => {
    const longest = Math.min(14, Math.max(...rows.map((name) => name.length), 1));
    const left = 12 + 7.2 * longest + (axes ? 16 : 0);
    const tall = Math.min(12, Math.max(...columns.map((name) => name.length), 1));
    const fitted = (right) => Math.max(6, Math.min(most, (wide - left - right) / columns.length));
    const slant = tall * 7.2 > fitted(8);
    // Slanted names stand out beyond the last column.
    const cell = fitted(slant ? Math.max(8, tall * 3.7) : 8);
    const top = (slant ? tall * 6.6 + 14 : 22) + (axes ? 16 : 0);
    const text = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);
    const every = Math.max(1, Math.ceil(12 / cell));
    const marks = [];
    const numbered = numbers && cell >= 30;
    for (let r = 0; r < rows.length; r += 1) {
      for (let c = 0; c < columns.length; c += 1)
        marks.push(
          heatCell({
            x: left + c * cell,
            y: top + r * cell,
            cell,
            numbered,
            value: value(r, c),
            range,
            pick: pick && (() => pick(r, c)),
            lines: lines(r, c),
          }),
        );
    }
    roving(marks, columns.length);
    const names = [
      ...rows.map((name, r) =>
        r % every
          ? null
          : words(left - 6, top + (r + 0.5) * cell + 4, text(name, 14), {
              class: "tick",
              "text-anchor": "end",
            }),
      ),
      ...columns.map((name, c) =>
        c % every
          ? null
          : words(0, 0, text(name, 12), {
              class: "tick",
              "text-anchor": slant ? "start" : "middle",
              transform: `translate(${left + (c + 0.5) * cell + (slant ? 4 : 0)} ${top - 7})${slant ? " rotate(-60)" : ""}`,
            }),
      ),
    ];
    const high = top + rows.length * cell + 6;
    if (axes)
      names.push(
        words(left + (columns.length * cell) / 2, 12, axes[1], {
          class: "axis-name",
          "text-anchor": "middle",
        }),
        words(-(top + (rows.length * cell) / 2), 12, axes[0], {
          class: "axis-name",
          transform: "rotate(-90)",
          "text-anchor": "middle",
        }),
      );
    return sheet(wide, high, label, names, marks, hatchedEdges(hatched, left, top, cell));
  };
}

/** Hatched bars along both edges of a square matrix, beside the rows and columns that are `hatched`. */
function hatchedEdges(hatched, left, top, cell) {
  if (!hatched.some(Boolean)) return null;
  const bars = hatched.flatMap((isHatched, i) =>
    isHatched
      ? [
          { x: left - 5, y: top + i * cell, width: 4, height: cell - 1 },
          { x: left + i * cell, y: top - 5, width: cell - 1, height: 4 },
        ]
      : [],
  );
  const name = "hatch-matrix";
  return [
    hatching(name),
    bars.map((bar) => svg("rect", { ...bar, class: "hatch", fill: `url(#${name})` })),
  ];
}

function heatCell({ x, y, cell, numbered, value, range, pick, lines }) {
  const defined = isNumber(value);
  const colour = defined ? ramp((value - range[0]) / (range[1] - range[0] || 1)) : null;
  const mark = svg(
    "g",
    { class: `cell${defined ? "" : " gap"}`, role: pick ? "button" : "img" },
    svg("rect", { x, y, width: cell - 1, height: cell - 1, fill: defined ? css(colour) : null }),
  );
  if (numbered)
    mark.append(
      words(x + cell / 2, y + cell / 2 + 4, defined ? brief(value) : "–", {
        class: "in-cell",
        "text-anchor": "middle",
        fill: defined ? over(colour) : null,
      }),
    );
  describe(mark, lines);
  if (pick) {
    mark.addEventListener("click", pick);
    mark.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick();
    });
  }
  return mark;
}

/** `.93`, `1.00`, `12.3`: a number that fits a cell. */
function brief(value) {
  const text = Math.abs(value) < 10 ? value.toFixed(2) : value.toPrecision(3);
  return minus(text.replace(/^(-?)0\./, "$1."));
}

const isMatrix = (measure) => Array.isArray(measure?.values?.[0]);
const measuresOf = (analysis, matrices) =>
  Object.entries(analysis?.measures ?? {}).filter(
    ([, measure]) => isMatrix(measure) === matrices && measure.values?.length,
  );

function matrixSection(scene, analysis, compare) {
  const matrices = measuresOf(analysis, true);
  if (!matrices.length) return section("matrix", t("matrix"), note(t("matrix.none")));
  const layers = analysis.layers.map(String);
  const body = el("div", {});
  const show = (name) => {
    const measure = Object.fromEntries(matrices)[name];
    const flat = measure.values.flat().filter(isNumber);
    const range = widened(Math.min(...flat, measure.alike ?? Infinity), Math.max(...flat, measure.alike ?? -Infinity), 0);
    const spread = (r, c) => interval(measure.low?.[r]?.[c], measure.high?.[r]?.[c]);
    const value = (r, c) => measure.values[r]?.[c] ?? null;
    const lines = (r, c) => [
      t("pair", { a: shown(layers[r]), b: shown(layers[c]) }),
      isNumber(value(r, c))
        ? `${measureName(name)} ${num(value(r, c))} ${spread(r, c)}`.trim()
        : t("undefined"),
    ];
    const names = layers.map(shown);
    const make = () =>
      layers.length <= 14
        ? table(
            [t("layer"), ...names],
            layers.map((_, r) => [names[r], ...layers.map((_, c) => num(value(r, c)))]),
          )
        : table(
            [t("layer"), t("layer"), measureName(name), t("interval.name")],
            layers.flatMap((_, r) =>
              layers.slice(0, r).map((_, c) => [names[r], names[c], num(value(r, c)), spread(r, c) || "–"]),
            ),
            2,
          );
    const draw = heat({
      rows: names,
      columns: names,
      value,
      range,
      lines,
      pick: (r, c) => compare(layers[r], layers[c]),
      label: measureName(name),
      axes: [t("axis.layer"), t("axis.layer")],
    });
    body.replaceChildren(
      el(
        "div",
        { class: "matrix-box" },
        chart(draw, { id: "similarity" }),
        el(
          "div",
          { class: "aside" },
          flat.length ? rampLegend(...range) : "",
          note(t("measure.source", { unit: unitName(measure.unit), source: noteWord(measure.source) })),
          flat.length < layers.length ** 2 ? note(t("undefined.note")) : "",
          measure.note ? note(noteWord(measure.note)) : "",
          note(t("matrix.hint")),
        ),
      ),
      asTable(make, layers.length <= 14),
    );
  };
  const pick = select(
    t("measure"),
    matrices.map(([name]) => [name, measureName(name)]),
    show,
    { id: "measure" },
  );
  show(matrices[0][0]);
  return section("matrix", t("matrix"), pick.label, body);
}
