// What each layer gives away, beside the scores of the task: which layer keeps the task and gives away least.
function leakagePart(layers, leaks, probe) {
  const scored = new Map((probe?.candidates ?? []).filter(isLayer).map((item) => [item.mix, item]));
  const scores = layers.map((layer) => scored.get(layer));
  const curves = leaks.map(([name, measure]) => ({ ...measure, name: measureName(name) }));
  if (scores.some((item) => isNumber(item?.score)))
    curves.unshift({
      name: t("leakage.score", { metric: wordsOr(`metric.${probe.metric}`, plainName(probe.metric)) }),
      values: scores.map((item) => item?.score ?? null),
      low: scores.map((item) => item?.low ?? null),
      high: scores.map((item) => item?.high ?? null),
    });
  const drawn = curves.flatMap(({ values, low }) => [...values, ...(low ?? [])]).filter(isNumber);
  const ends = [Math.min(0, ...drawn), 1]; // scores such as R² may be below 0
  const draw = layerLines({ layers, series: curves, unit: "", high: 220, label: t("leakage.title"), ends });
  return el(
    "div",
    { class: "part leakage" },
    el("h3", {}, t("leakage.title")),
    note(t("leakage.note")),
    chart(draw),
    keys(curves.map(({ name }) => [name])),
    ...leaks
      .filter(([name]) => name !== ATTRIBUTE + probe?.label) // the task itself is meant to be told
      .map(([name, measure]) => leakageAdvice(layers, measureName(name), measure, scores))
      .filter(Boolean),
    asTable(() =>
      table(
        [t("layer"), ...curves.map(({ name }) => name)],
        layers.map((layer, i) => [shown(layer), ...curves.map(({ values }) => num(values[i], 3))]),
      ),
    ),
  );
}

/** Of the layers whose interval reaches the best score, the one that gives away least; nothing without a probe. */
function leakageAdvice(layers, name, measure, scores) {
  const best = Math.max(...scores.map((item) => item?.score ?? -Infinity));
  const kept = layers
    .map((_, i) => i)
    .filter((i) => isNumber(measure.values[i]) && (scores[i]?.high ?? scores[i]?.score ?? -Infinity) >= best);
  if (!Number.isFinite(best) || !kept.length) return null;
  const least = kept.reduce((a, b) => (measure.values[b] < measure.values[a] ? b : a));
  return note(
    t("leakage.advice", {
      layers: kept.map((i) => shown(layers[i])).join(t("comma")),
      layer: shown(layers[least]),
      score: num(scores[least].score, 3),
      name,
      share: num(measure.values[least], 3),
    }),
  );
}
