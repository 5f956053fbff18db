// The probe: scores of layers and mixes with their intervals, baselines as lines, and the weights of the learned mix.
const DASHES = ["5 3", "1.5 2.5", "7 2 1.5 2", "3 1.5 1.5 1.5 1.5 1.5"];

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
    svg("circle", { cx: 6, cy: 6, r: 4, class: "dot ink0" }),
    svg("rect", { x: 2, y: 2, width: 8, height: 8, class: "dot ink1" }),
    svg("path", { d: "M6 1 L11 6 L6 11 L1 6Z", class: "dot ink2" }),
  ];
  const legend = keys([
    [t("probe.layer"), shape[0]],
    ...(mixes.length ? [[t("probe.mix"), shape[1]]] : []),
    ...(chosen.length ? [[t("probe.chosen.long"), shape[2]]] : []),
  ]);
  const label = t("probe.chart", { metric });
  const curve = chart(
    (wide) =>
      probeChart(wide, {
        layers,
        others: [...mixes, ...chosen],
        baselines: probe.baselines ?? {},
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
    el("p", { class: "lead said" }, lead),
    legend,
    curve,
    asTable(() => probeTable(probe, metric)),
  );
  if (probe.design) box.append(note(shown(probe.design)));
  if (probe.learned?.weights) box.append(weightsPart(probe.learned));
  return box;
}

const isLayer = (candidate) => (candidate.kind ? candidate.kind === "layer" : /^(emb|\d+)$/.test(candidate.mix));

function probeChart(wide, { layers, others, baselines, metric, unit, best, label }) {
  const lines = Object.entries(baselines)
    .map(([name, value]) => ({
      name: wordsOr(`baseline.${name}`, plainName(name)),
      ...(typeof value === "object" ? value : { score: value }),
    }))
    .filter((baseline) => isNumber(baseline.score));
  const all = [...layers, ...others];
  const narrow = wide < 560;
  const right = narrow || !lines.length ? 12 : 186;
  // Names of mixes stand aslant; the longest says how much room they take.
  const names = all.map((candidate) => short(shortMix(candidate.mix), 24));
  const slant = Math.max(0, ...others.map((candidate, i) => names[layers.length + i].length)) * 4;
  const [left, top, bottom] = [58, 14, Math.max(46, 26 + slant)];
  const high = (narrow ? 260 : 320) + slant / 2;
  const range = rangeOf([...all, ...lines].flatMap((item) => [item.score, item.low, item.high]));
  const slots = all.length + (layers.length && others.length ? 1 : 0) || 1;
  const step = (wide - left - right) / slots;
  const x = (i) => left + step * (i + 0.5 + (i >= layers.length && layers.length ? 1 : 0));
  const y = (value) => top + (high - top - bottom) * (1 - (value - range[0]) / (range[1] - range[0]));
  const ticks = ticksOf(range[0], range[1], high / 55);
  const grid = ticks.at.flatMap((value) => [
    line(left, y(value), wide - right, y(value), "grid"),
    words(left - 7, y(value) + 4, ticks.word(value), { class: "tick", "text-anchor": "end" }),
  ]);
  const rules = lines.map((baseline, i) =>
    describe(
      svg(
        "g",
        { class: "mark rule", role: "img" },
        svg("line", {
          x1: left,
          x2: wide - right,
          y1: y(baseline.score),
          y2: y(baseline.score),
          "stroke-dasharray": DASHES[i % DASHES.length],
        }),
        svg("line", { x1: left, x2: wide - right, y1: y(baseline.score), y2: y(baseline.score), class: "touch" }),
      ),
      `${baseline.name}: ${num(baseline.score)} ${interval(baseline.low, baseline.high)}`.trim(),
    ),
  );
  const labels = (narrow ? namesOnLines : baselineNames)(lines, y, wide - right, top, high - bottom);
  const curve = svg("polyline", {
    class: "curve ink0",
    points: layers.map((candidate, i) => (isNumber(candidate.score) ? `${x(i)},${y(candidate.score)}` : "")).join(" "),
  });
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
          )
        : null,
    )
    .filter(Boolean);
  roving([...marks, ...rules]);
  const foot = [
    ...namesAlong(names.slice(0, layers.length), x, step, high - bottom + 17),
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
    rules,
    labels,
    curve,
    marks,
    foot,
    axisName,
    words(-(high - bottom + top) / 2, 13, unit ? `${metric} (${unit})` : metric, {
      class: "axis-name",
      transform: "rotate(-90)",
      "text-anchor": "middle",
    }),
  );
}

/** One candidate: its interval, its shape, a ring around the best; hollow where a test tells it from the best. */
function scoreMark(candidate, x, y, ink, best, metric) {
  const [at, worse] = [y(candidate.score), isNumber(candidate.p_vs_best) && candidate.p_vs_best < 0.05 && !best];
  const shape = [
    svg("circle", { cx: x, cy: at, r: 4.5 }),
    svg("rect", { x: x - 4.2, y: at - 4.2, width: 8.4, height: 8.4 }),
    svg("path", { d: `M${x} ${at - 6} L${x + 6} ${at} L${x} ${at + 6} L${x - 6} ${at}Z` }),
  ][ink];
  shape.setAttribute("class", `dot ink${ink}${worse ? " hollow" : ""}`);
  const body = svg("g", { class: "mark", role: "img" });
  if (isNumber(candidate.low) && isNumber(candidate.high))
    body.append(line(x, y(candidate.low), x, y(candidate.high), `whisker ink${ink}`));
  body.append(shape, svg("circle", { cx: x, cy: at, r: 12, class: "touch" }));
  if (best) body.append(svg("circle", { cx: x, cy: at, r: 8.5, class: "best" }));
  const lines = [
    `${ink ? shortMix(candidate.mix) : layerWord(candidate.mix)}${best ? ` · ${t("probe.best")}` : ""}`,
    `${metric} ${num(candidate.score)} ${interval(candidate.low, candidate.high)}`.trim(),
  ];
  if (isNumber(candidate.p_vs_best) && !best)
    lines.push(t("probe.p", { p: candidate.p_vs_best < 0.001 ? "< 0.001" : num(candidate.p_vs_best) }));
  if (isNumber(candidate.cost)) lines.push(t("probe.cost", { share: percent(candidate.cost) }));
  return describe(body, lines);
}

/** Names of baselines at the right, moved apart where their lines lie close. */
function baselineNames(lines, y, x, top, bottom) {
  const sorted = lines.map((baseline) => ({ ...baseline, ideal: y(baseline.score) })).sort((a, b) => a.ideal - b.ideal);
  let last = top - 14;
  for (const baseline of sorted) last = baseline.at = Math.max(baseline.ideal, last + 15);
  let limit = bottom;
  for (const baseline of sorted.toReversed()) limit = (baseline.at = Math.min(baseline.at, limit)) - 15;
  return sorted.flatMap((baseline) => [
    svg("polyline", { class: "leader", points: `${x},${baseline.ideal} ${x + 12},${baseline.at} ${x + 18},${baseline.at}` }),
    words(x + 22, baseline.at + 4, short(`${baseline.name} ${num(baseline.score)}`, 26), { class: "tick" }),
  ]);
}

/** The same on a narrow page: on the lines themselves, at their right ends. */
function namesOnLines(lines, y, x, top) {
  const sorted = lines.map((baseline) => ({ ...baseline, ideal: y(baseline.score) })).sort((a, b) => a.ideal - b.ideal);
  let last = top - 6;
  return sorted.map((baseline) => {
    last = Math.max(baseline.ideal - 4, last + 12);
    return words(x - 2, last, short(`${baseline.name} ${num(baseline.score)}`, 26), {
      class: "tick halo",
      "text-anchor": "end",
    });
  });
}

function probeTable(probe, metric) {
  const row = (candidate, name) => [
    name,
    num(candidate.score),
    interval(candidate.low, candidate.high) || "–",
    isNumber(candidate.p_vs_best) ? (candidate.p_vs_best < 0.001 ? "< 0.001" : num(candidate.p_vs_best)) : "–",
    percent(candidate.cost),
  ];
  const rows = probe.candidates.map((candidate) =>
    row(candidate, shortMix(candidate.mix) + (candidate.mix === probe.advice?.best ? ` · ${t("probe.best")}` : "")),
  );
  if (probe.chosen) rows.push(row(probe.chosen, t("probe.chosen.long")));
  for (const [name, value] of Object.entries(probe.baselines ?? {}))
    rows.push(
      row(
        typeof value === "object" && value ? value : { score: value },
        wordsOr(`baseline.${name}`, plainName(name)),
      ),
    );
  return table(
    [t("probe.candidate"), metric, t("interval.name"), t("probe.p.name"), t("probe.cost.name")],
    rows,
  );
}

/** The learned mix from two sides: weights, and shares of the variance of the logits. */
function weightsPart(learned) {
  const layers = byDepth(Object.keys(learned.weights));
  const side = (entries) => ({
    values: layers.map((name) => entries?.[name]?.value ?? null),
    low: layers.map((name) => entries?.[name]?.low ?? null),
    high: layers.map((name) => entries?.[name]?.high ?? null),
  });
  const series = [{ name: t("learned.weight"), ...side(learned.weights) }];
  if (learned.logit_variance) series.push({ name: t("learned.variance"), ...side(learned.logit_variance) });
  const make = () =>
    table(
      [t("layer"), ...series.flatMap((curve) => [curve.name, t("interval.name")])],
      layers.map((name, i) => [
        shown(name),
        ...series.flatMap((curve) => [num(curve.values[i]), interval(curve.low[i], curve.high[i]) || "–"]),
      ]),
    );
  const alike =
    learned.alike?.length === 2
      ? note(
          t("learned.alike", {
            a: shown(learned.alike[0]),
            b: shown(learned.alike[1]),
            cka: num(learned.likeness),
          }),
        )
      : null;
  return el(
    "div",
    { class: "part" },
    el("h3", {}, t("learned")),
    keys(series.map((curve) => [curve.name])),
    chart(
      layerLines({ layers, series, unit: t("learned.unit"), high: 240, label: t("learned"), bars: true }),
      { id: "weights" },
    ),
    asTable(make),
    alike ?? "",
    note(t("learned.caution")),
  );
}
