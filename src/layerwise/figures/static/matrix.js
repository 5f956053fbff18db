// Matrices as cells of colour: likeness of layers, and attention.

/**
 * Cells: `value(row, column)`, `lines(row, column)` their words, `pick(row, column)` what a click does, `usable(row,
 * column)` whether the number means anything; one that doesn't is grey. Colours run from `range[0]` to `range[1]`.
 */
function heat({
  rows,
  columns,
  value,
  range,
  lines,
  pick,
  label,
  numbers = true,
  most = 56,
  axes,
  hatched = [],
  usable,
  word = brief,
}) {
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
            greyed: usable ? !usable(r, c) : false,
            word,
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

function heatCell({ x, y, cell, numbered, value, range, pick, lines, greyed, word }) {
  const defined = isNumber(value);
  const colour = defined && !greyed ? ramp((value - range[0]) / (range[1] - range[0] || 1)) : null;
  const mark = svg(
    "g",
    { class: `cell${defined ? (greyed ? " greyed" : "") : " gap"}`, role: pick ? "button" : "img" },
    svg("rect", { x, y, width: cell - 1, height: cell - 1, fill: colour ? css(colour) : null }),
  );
  if (numbered)
    mark.append(
      words(x + cell / 2, y + cell / 2 + 4, defined ? word(value) : "–", {
        class: "in-cell",
        "text-anchor": "middle",
        fill: colour ? over(colour) : null,
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

/** `.93`, `1.00`, `12.3`: a number that fits a cell; `most` is the number of decimals that are precise. */
function brief(value, most = 2) {
  if (Math.abs(value) >= 10) return num(value, 3);
  return minus(value.toFixed(Math.min(most, 2))).replace(/^(−?)0\./, "$1.");
}

const isMatrix = (measure) => Array.isArray(measure?.values?.[0]);
const measuresOf = (analysis, matrices) =>
  Object.entries(analysis?.measures ?? {}).filter(
    ([, measure]) => isMatrix(measure) === matrices && measure.values?.length,
  );

/** Whether the number of a layer, or of a pair of layers, can be told from that of unrelated ones. */
const isUsable = (measure, r, c) => (c === undefined ? measure.usable?.[r] : measure.usable?.[r]?.[c]) ?? true;
const isDistance = (measure) => measure.alike === 0;

/** A number of a measure with the digits that are precise, in brackets where it can't be used. */
const measureWord = (measure, value, usable) => {
  const text = num(value, measure.scale?.decimals);
  return usable || !isNumber(value) ? text : t("bracketed", { value: text });
};
const pairWord = (measure, r, c) => measureWord(measure, measure.values[r]?.[c], isUsable(measure, r, c));
const pairInterval = (measure, r, c) =>
  interval(measure.low?.[r]?.[c], measure.high?.[r]?.[c], measure.scale?.decimals);

/** What gives the floor of a measure, and its numbers: "unrelated layers, 0.62 to 0.68". */
function floorWords(measure, floor = measure.floor) {
  const span = spanWord((floor ?? []).flat());
  return span === "–" ? "" : t("floor", { of: floorName(measure), span });
}

/** The floors of a layer with each of the others; of a single layer its own. */
function floorsOf(measure, column) {
  const floors = (measure.floor ?? []).map((row) => row[column]);
  return floors.length > 1 ? floors.filter((_, r) => r !== column) : floors;
}

/** The least and the largest of numbers in words: "0.62 to 0.68", or one number where they are the same. */
function spanWord(values, most = 3) {
  const numbers = values.filter(isNumber);
  if (!numbers.length) return "–";
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)].map((value) => (value ? num(value, most) : "0"));
  return low === high ? low : t("span", { low, high });
}
const floorName = (measure) => shown(measure.floor_of);

/** Why a measure can't be used with its rows, and what to do instead; null where it can. */
const cautionOf = (measure) =>
  measure.caution ? el("p", { class: "note caution" }, shown(measure.caution.text)) : null;

/** The ramp of colours from unrelated layers to identical ones, which are always at its bright end. */
function alikeLegend(measure, range) {
  const legend = rampLegend(...range);
  legend.append(
    el(
      "div",
      { class: "ends" },
      el("span", {}, measure.floor ? floorName(measure) : t("matrix.least")),
      el("span", {}, t("matrix.alike")),
    ),
  );
  return legend;
}

function matrixTable(layers, name, measure) {
  const names = layers.map(shown);
  const unlike = (c) => spanWord(floorsOf(measure, c));
  if (layers.length <= 14)
    return table(
      [t("layer"), ...names],
      [
        ...layers.map((_, r) => [names[r], ...layers.map((_, c) => pairWord(measure, r, c))]),
        ...(measure.floor ? [[floorName(measure), ...layers.map((_, c) => unlike(c))]] : []),
      ],
    );
  // Of a pair in both orders the numbers may differ.
  const symmetric = layers.every((_, r) => layers.every((_, c) => pairWord(measure, r, c) === pairWord(measure, c, r)));
  const listed = (r) => layers.map((_, c) => c).filter((c) => (symmetric ? c < r : c !== r));
  return table(
    [
      t("layer"),
      t("layer"),
      measureName(name),
      t("interval.name"),
      ...(measure.floor ? [floorName(measure)] : []),
    ],
    layers.flatMap((_, r) =>
      listed(r).map((c) => [
        names[r],
        names[c],
        pairWord(measure, r, c),
        pairInterval(measure, r, c) || "–",
        ...(measure.floor ? [num(measure.floor[r]?.[c], 3)] : []),
      ]),
    ),
    2,
  );
}

function matrixSection(scene, analysis, compare) {
  const matrices = measuresOf(analysis, true);
  if (!matrices.length) return section("matrix", t("matrix"), note(t("matrix.none")));
  const layers = analysis.layers.map(String);
  const body = el("div", {});
  const show = (name) => body.replaceChildren(...oneMatrix(layers, name, Object.fromEntries(matrices)[name], compare));
  // A measure that can't be used with these rows isn't the first to be seen.
  const [first] = matrices.find(([, measure]) => !measure.caution) ?? matrices[0];
  const pick = select(
    t("measure"),
    matrices.map(([name, measure]) => [
      name,
      measure.caution ? t("measure.unusable", { name: measureName(name) }) : measureName(name),
    ]),
    show,
    { id: "measure" },
  );
  pick.box.value = first;
  show(first);
  return section("matrix", t("matrix"), pick.label, body);
}

function oneMatrix(layers, name, measure, compare) {
  const names = layers.map(shown);
  const value = (r, c) => measure.values[r]?.[c] ?? null;
  const usable = (r, c) => isUsable(measure, r, c);
  const range = measure.scale?.ends ?? [0, 1];
  const lines = (r, c) => [
    t("pair", { a: names[r], b: names[c] }),
    isNumber(value(r, c))
      ? spaced(measureName(name), pairWord(measure, r, c), pairInterval(measure, r, c))
      : t("undefined"),
    ...(isNumber(measure.floor?.[r]?.[c]) ? [floorWords(measure, floorsOf(measure, c))] : []),
  ];
  const flat = measure.values.flat();
  const painted = layers.some((_, r) => layers.some((_, c) => isNumber(value(r, c)) && usable(r, c)));
  const draw = heat({
    rows: names,
    columns: names,
    value,
    usable,
    word: (number) => brief(number, measure.scale?.decimals),
    range,
    lines,
    pick: (r, c) => compare(layers[r], layers[c]),
    label: measureName(name),
    axes: [t("axis.layer"), t("axis.layer")],
  });
  const aside = el(
    "div",
    { class: "aside" },
    cautionOf(measure) ?? "",
    painted ? alikeLegend(measure, range) : "",
    isDistance(measure) ? note(t("matrix.distance")) : "",
    measure.floor && painted ? note(t("floor.give", { words: floorWords(measure) })) : "",
    note(t("measure.source", { unit: unitName(measure.unit), source: noteWord(measure.source) })),
    flat.filter(isNumber).length < layers.length ** 2 ? note(t("undefined.note")) : "",
    measure.note ? note(noteWord(measure.note)) : "",
    note(t("matrix.hint")),
  );
  return [
    el("div", { class: "matrix-box" }, chart(draw, { id: "similarity" }), aside),
    asTable(() => matrixTable(layers, name, measure), layers.length <= 14),
  ];
}
