// The probe: scores of layers and mixes with their intervals, and baselines as lines.
const DASHES = ["5 3", "1.5 2.5", "7 2 1.5 2", "3 1.5 1.5 1.5 1.5 1.5"];
const LEADER = 34; // pixels of each line's dashes between the chart and its name
const NAME = 18; // pixels that a name aslant takes of the axis
const FLOORS = { r2: 0, span_f1: 0, micro_f1: 0 }; // chance levels of metrics, where no baseline gives one

function probeSection(probe) {
  if (!probe?.candidates) return section("probe", t("probe"), note(t("probe.none")));
  const metric = wordsOr(`metric.${probe.metric}`, plainName(probe.metric));
  const lead = t("probe.lead", {
    label: short(probe.label, 60),
    rows: count(probe.rows),
    task: wordsOr(`task.${probe.task}`, shown(probe.task)),
  });
  const layers = probe.candidates.filter(isLayer).sort((a, b) => depthOf(a.mix) - depthOf(b.mix));
  const mixes = probe.candidates.filter((candidate) => !isLayer(candidate));
  const chosen = isNumber(probe.chosen?.score)
    ? [{ ...probe.chosen, mix: t("probe.chosen"), kind: "chosen" }]
    : [];
  const shape = [
    svg("rect", { x: 2, y: 2, width: 8, height: 8, class: "dot ink1" }),
    svg("path", { d: "M6 1 L11 6 L6 11 L1 6Z", class: "dot ink2" }),
    svg("circle", { cx: 6, cy: 6, r: 5, class: "best" }),
  ];
  const legend = keys([
    ...siteKeys(layers.map(({ mix }) => mix)),
    ...(mixes.length ? [[t("probe.mix"), shape[0]]] : []),
    ...(chosen.length ? [[t("probe.chosen"), shape[1]]] : []),
    ...(probe.advice?.best ? [[t("probe.best.ring"), shape[2]]] : []),
  ]);
  const label = t("probe.chart", { metric });
  const digits = scoreDigits(probe.candidates, probe.rows);
  const curve = chart(
    (wide) =>
      probeChart(wide, {
        layers,
        others: [...mixes, ...chosen],
        baselines: baselinesOf(probe),
        digits,
        metric,
        unit: wordsOr(`metric.unit.${probe.metric}`, ""),
        best: probe.advice?.best,
        label,
      }),
    { id: "probe-curve" },
  );
  const box = section(
    "probe",
    t("probe"),
    el("p", { class: "lead said" }, joined([lead, probe.candidates.some(({ dropped }) => dropped) && t("probe.dropped.note")])),
    legend,
    curve,
    asTable(() => probeTable(probe, metric, digits)),
  );
  if (probe.design) box.append(note(shown(probe.design)));
  if (probe.learned?.weights) box.append(learnedPart(probe.learned, probe, digits));
  return box;
}

const isLayer = (candidate) => (candidate.kind ? candidate.kind === "layer" : /^(emb|\d+)$/.test(candidate.mix));

/** The baselines with their names; the chance level is one of them: the majority, or the floor of the metric. */
function baselinesOf(probe) {
  const given = Object.entries(probe.baselines ?? {})
    .map(([name, value]) => ({
      ...(value && typeof value === "object" ? value : { score: value }),
      key: name,
      name: baselineName(name, probe.task),
      floor: name === "majority",
    }))
    .filter((baseline) => isNumber(baseline.score));
  if (!given.some((baseline) => baseline.floor) && probe.metric in FLOORS)
    given.push({ name: t("probe.floor"), score: FLOORS[probe.metric], floor: true });
  return given;
}

/** Of numbers the answer that needs no features is the mean. */
function baselineName(name, task) {
  if (name !== "majority") return wordsOr(`baseline.${name}`, plainName(name));
  return t(task === "regress" ? "baseline.mean" : "baseline.majority") + t("aside", { words: t("probe.floor") });
}

/**
 * The range of the axis: scores and intervals of candidates, baselines above them, and those below them that leave
 * the candidates at least half of the axis. All other baselines are off the axis.
 */
function probeRange(candidates, baselines) {
  const numbers = candidates.flatMap((item) => [item.score, item.low, item.high]).filter(isNumber);
  if (!numbers.length) return rangeOf(baselines.map((baseline) => baseline.score));
  let low = Math.min(...numbers);
  const high = Math.max(...numbers, ...baselines.map((baseline) => baseline.score));
  const span = high - low;
  for (const { score } of baselines) if (!span || high - score <= 2 * span) low = Math.min(low, score);
  return rangeOf([low, high]);
}

/**
 * How many digits after the point scores with these intervals support, 2 to 4: the last is the first one below the
 * median of the half widths, or, without intervals, below 1 / √rows.
 */
function scoreDigits(items, rows) {
  const halves = items
    .map((item) => (isNumber(item?.low) && isNumber(item.high) ? (item.high - item.low) / 2 : 0))
    .filter((half) => half > 1e-9)
    .sort((a, b) => a - b);
  const [before, after] = [halves[(halves.length - 1) >> 1], halves[halves.length >> 1]];
  const half = halves.length ? (before + after) / 2 : (rows || 1e5) ** -0.5;
  return Math.min(4, Math.max(2, Math.ceil(-Math.log10(half) - 1e-9)));
}

const scoreText = (value, digits) => (isNumber(value) ? minus(value.toFixed(digits)) : "–");
const scoreEnds = (item, digits) =>
  isNumber(item?.low) && isNumber(item.high)
    ? t("interval", { low: scoreText(item.low, digits), high: scoreText(item.high, digits) })
    : "";
const pText = (p) => (isNumber(p) && p < 0.001 ? "< 0.001" : num(p));

function probeChart(wide, { layers, others, baselines, digits, metric, unit, best, label }) {
  const all = [...layers, ...others];
  const narrow = wide < 560;
  const range = probeRange(all, baselines);
  const lines = baselines.map((baseline, i) => ({
    ...baseline,
    dashes: baseline.floor ? null : DASHES[i % DASHES.length],
    off: baseline.score < range[0],
    words: `${spaced(baseline.name, scoreText(baseline.score, digits))}${baseline.score < range[0] ? " ↓" : ""}`,
  }));
  const longest = Math.max(0, ...lines.map((baseline) => lettersWide(short(baseline.words, 34))));
  const right = narrow || !lines.length ? 12 : (LEADER + 22) + 6.6 * longest;
  // Names of mixes stand aslant; the longest says how much room they take.
  const names = all.map((candidate) => short(shortMix(candidate.mix), 24));
  const slant = Math.max(0, ...others.map((candidate, i) => names[layers.length + i].length)) * 4;
  const listed = narrow ? 18 * lines.length : 0;
  const [left, top, bottom] = [58, 14, Math.max(46, 26 + slant) + listed];
  const high = (narrow ? 260 : 300) + slant + listed;
  const inner = wide - left - right;
  const apart = roomOfMix(layers, others.length, inner);
  const gap = layers.length ? apart : 0;
  const step = inner / (layers.length + (others.length ? gap : 0) + apart * others.length || 1);
  const x = (i) =>
    left +
    step * (i < layers.length ? i + 0.5 : layers.length + gap + apart * (i - layers.length + 0.5));
  // Below the scores is room for what is off the axis.
  const room = high - top - bottom - (lines.some((baseline) => baseline.off) ? 18 : 0);
  const y = (value) => top + room * (1 - (value - range[0]) / (range[1] - range[0]));
  for (const baseline of lines) baseline.at = baseline.off ? high - bottom : y(baseline.score);
  const ticks = ticksOf(range[0], range[1], (high - listed) / 55);
  const grid = ticks.at.flatMap((value) => [
    line(left, y(value), wide - right, y(value), "grid"),
    words(left - 7, y(value) + 4, ticks.word(value), { class: "tick", "text-anchor": "end" }),
  ]);
  const rules = lines.map((baseline) => baselineMark(baseline, left, wide - right, digits));
  const labels = narrow ? baselineList(lines, left, high - listed) : baselineNames(lines, wide - right, top, high - bottom);
  const curves = [...new Set(layers.map(({ mix }) => siteOf(mix)))].map((site) =>
    svg("polyline", {
      class: `curve ${site ? `ink-${site}` : "ink0"}`,
      points: layers
        .map(({ mix, score }, i) => (siteOf(mix) === site && isNumber(score) ? `${x(i)},${y(score)}` : ""))
        .join(" "),
    }),
  );
  const marks = all
    .map((candidate, i) =>
      isNumber(candidate.score)
        ? scoreMark(
            candidate,
            x(i),
            y,
            i < layers.length ? 0 : candidate.kind === "chosen" ? 2 : 1,
            candidate.mix === best,
            metric,
            digits,
          )
        : null,
    )
    .filter(Boolean);
  roving([...marks, ...rules]);
  const foot = [
    ...layerNames(layers.map(({ mix }) => mix), x, step, high - bottom + 17),
    ...others.map((candidate, i) =>
      words(0, 0, names[layers.length + i], {
        class: "tick",
        "text-anchor": "end",
        transform: `translate(${x(layers.length + i) + 4} ${high - bottom + 15}) rotate(-38)`,
      }),
    ),
  ];
  const axisName = layers.length
    ? words(x((layers.length - 1) / 2), high - bottom + 36, t("axis.layer"), {
        class: "axis-name",
        "text-anchor": "middle",
      })
    : null;
  return sheet(
    wide,
    high,
    label,
    grid,
    line(left, high - bottom, wide - right, high - bottom, "axis"),
    lines.some((baseline) => baseline.off) ? axisBreak(left, high - bottom) : null,
    rules,
    labels,
    curves,
    marks,
    foot,
    axisName,
    words(-(high - bottom + top) / 2, 13, unit ? metric + t("aside", { words: unit }) : metric, {
      class: "axis-name",
      transform: "rotate(-90)",
      "text-anchor": "middle",
    }),
  );
}

/** The room of a mix, in those of a layer: as much as its name needs, and at most that of a block with its sites. */
function roomOfMix(layers, mixes, wide) {
  const blocks = new Set(layers.map(({ mix }) => Math.ceil(depthOf(mix)))).size || 1;
  const rest = wide - NAME * (mixes + 1);
  return Math.max(1, Math.min(layers.length / blocks, rest > 0 ? (NAME * layers.length) / rest : Infinity));
}

/** One candidate: its interval, its shape, a ring around the best; hollow where a test tells it from the best. */
function scoreMark(candidate, x, y, ink, best, metric, digits) {
  const [at, worse] = [y(candidate.score), isNumber(candidate.p_vs_best) && candidate.p_vs_best < 0.05 && !best];
  const shape = [
    svg("circle", { cx: x, cy: at, r: 4.5 }),
    svg("rect", { x: x - 4.2, y: at - 4.2, width: 8.4, height: 8.4 }),
    svg("path", { d: `M${x} ${at - 6} L${x + 6} ${at} L${x} ${at + 6} L${x - 6} ${at}Z` }),
  ][ink];
  const own = !ink && siteOf(candidate.mix) ? `ink-${siteOf(candidate.mix)}` : `ink${ink}`;
  shape.setAttribute("class", `dot ${own}${worse ? " hollow" : ""}`);
  const body = svg("g", { class: `mark${candidate.dropped ? " dropped" : ""}`, role: "img" });
  if (isNumber(candidate.low) && isNumber(candidate.high))
    body.append(line(x, y(candidate.low), x, y(candidate.high), `whisker ${own}`));
  body.append(shape, svg("circle", { cx: x, cy: at, r: 12, class: "touch" }));
  if (best) body.append(svg("circle", { cx: x, cy: at, r: 8.5, class: "best" }));
  const lines = [
    `${ink ? shortMix(candidate.mix) : layerWord(candidate.mix)}${best ? ` · ${t("probe.best")}` : ""}`,
    spaced(metric, scoreText(candidate.score, digits), scoreEnds(candidate, digits)),
  ];
  if (isNumber(candidate.p_vs_best) && !best)
    lines.push(t("probe.p", { p: pText(candidate.p_vs_best) }));
  if (candidate.dropped) lines.push(t("probe.dropped"));
  if (isNumber(candidate.cost)) lines.push(t("probe.cost", { share: percent(candidate.cost) }));
  return describe(body, lines);
}

/** A baseline: a line across the chart, or a triangle at its foot where the score is below the axis. */
function baselineMark(baseline, left, right, digits) {
  const { at } = baseline;
  const body = svg("g", { class: `mark rule${baseline.off ? " off" : ""}`, role: "img" });
  if (baseline.off) body.append(svg("path", { d: `M${right - 12} ${at - 9} h12 l-6 8Z`, class: "dot faded" }));
  else
    body.append(
      svg("line", { x1: left, x2: right, y1: at, y2: at, "stroke-dasharray": baseline.dashes ?? "none" }),
    );
  const touch = baseline.off ? right - 20 : left;
  body.append(svg("line", { x1: touch, x2: right, y1: at, y2: at, class: "touch" }));
  const lines = [entryWord(baseline.name, spaced(scoreText(baseline.score, digits), scoreEnds(baseline, digits)))];
  if (baseline.off) lines.push(t("probe.off"));
  return describe(body, lines);
}

/** Two strokes through the foot of the axis: it doesn't go on to the baselines below. */
const axisBreak = (x, y) =>
  svg("path", { d: `M${x - 5} ${y - 3} l10 -5 M${x - 5} ${y - 8} l10 -5`, class: "axis", fill: "none" });

/** Names of baselines at the right, moved apart where their lines lie close; each behind a piece of its line. */
function baselineNames(lines, x, top, bottom) {
  const sorted = lines.map((baseline) => ({ ...baseline, to: baseline.at })).sort((a, b) => a.at - b.at);
  let last = top - 14;
  for (const baseline of sorted) last = baseline.to = Math.max(baseline.at, last + 15);
  let limit = bottom;
  for (const baseline of sorted.toReversed()) limit = (baseline.to = Math.min(baseline.to, limit)) - 15;
  return sorted.flatMap((baseline) => [
    svg("polyline", {
      class: "leader",
      points: `${x},${baseline.at} ${x + 8},${baseline.to} ${x + LEADER},${baseline.to}`,
      "stroke-dasharray": baseline.dashes ?? "none",
    }),
    words(x + LEADER + 4, baseline.to + 4, short(baseline.words, 34), { class: "tick baseline" }),
  ]);
}

/** The same on a narrow page: a list under the chart, with a piece of each line. */
function baselineList(lines, x, top) {
  return lines.flatMap((baseline, i) => {
    const y = top + 18 * i + 8;
    const shape = baseline.off
      ? svg("path", { d: `M${x + 6} ${y - 4} h12 l-6 8Z`, class: "dot faded" })
      : svg("line", { x1: x, x2: x + 24, y1: y, y2: y, "stroke-dasharray": baseline.dashes ?? "none" });
    return [
      svg("g", { class: "rule" }, shape),
      words(x + 32, y + 4, short(baseline.words, 34), { class: "tick baseline" }),
    ];
  });
}

/** The columns of the table: a name, and the cell of a candidate or baseline; `others` are the further metrics. */
const probeColumns = (metric, others, digits) => [
  [t("probe.candidate"), (row) => row.name],
  [metric, (row) => scoreText(row.score, digits)],
  [t("interval.name"), (row) => scoreEnds(row, digits) || "–"],
  [t("probe.p.name"), (row) => (row.isBest ? "–" : pText(row.p_vs_best))],
  ...others.map((name) => [
    wordsOr(`metric.${name}`, plainName(name)),
    (row) => scoreText(row.scores?.[name]?.score ?? row.scores?.[name], digits),
  ]),
  [t("probe.cost.name"), (row) => percent(row.cost)],
  [t("probe.parameters"), (row) => count(row.parameters)],
  [t("probe.speed"), (row) => (isNumber(row.tokens_per_s) ? count(Math.round(row.tokens_per_s)) : "–")],
];

function probeTable(probe, metric, digits) {
  const best = probe.advice?.best;
  const rows = probe.candidates.map((candidate) => ({
    ...candidate,
    isBest: candidate.mix === best,
    name: [
      shortMix(candidate.mix),
      ...(candidate.mix === best ? [t("probe.best")] : []),
      ...(candidate.dropped ? [t("probe.dropped")] : []),
    ].join(" · "),
  }));
  if (probe.chosen) rows.push({ ...probe.chosen, name: t("probe.chosen") });
  rows.push(...baselinesOf(probe));
  const others = [...new Set(probe.candidates.flatMap(({ scores }) => Object.keys(scores ?? {})))];
  // A column that says nothing of any row would only make the table wider.
  const columns = probeColumns(metric, others.filter((name) => name !== probe.metric), digits)
    .map(([name, cell]) => [name, rows.map(cell)])
    .filter(([, cells], i) => i < 4 || cells.some((text) => text !== "–"));
  return table(
    columns.map(([name]) => name),
    rows.map((_, i) => columns.map(([, cells]) => cells[i])),
  );
}
