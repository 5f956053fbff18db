// What a model costs when it is cut at each layer, beside the score of the layer.
function costsPart(costs) {
  if (!costs?.rows?.length) return "";
  const scored = costs.rows.some((row) => isNumber(row.score));
  const metric = scored ? wordsOr(`metric.${costs.metric}`, plainName(costs.metric)) : "";
  const header = [
    t("layer"),
    t("costs.blocks"),
    t("costs.parameters"),
    t("costs.bytes"),
    t("costs.speed"),
    ...(scored ? [spaced(shown(costs.label), metric), t("interval.name")] : []),
  ];
  const rows = costs.rows.map((row) => [
    shown(row.layer),
    count(row.blocks),
    count(row.parameters),
    size(row.bytes),
    count(Math.round(row.tokens_per_s)),
    ...(scored ? [num(row.score, 3), interval(row.low, row.high, 3) || "–"] : []),
  ]);
  return section(
    "costs",
    t("costs"),
    el("p", { class: "lead" }, t("costs.lead", { model: shown(costs.model) })),
    el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": t("costs") }, table(header, rows)),
    note(
      t("costs.note", {
        texts: count(costs.texts),
        tokens: count(costs.tokens),
        rounds: count(costs.rounds),
        device: shown(costs.device),
      }),
    ),
    costs.rows.some((row) => row.coarse) ? note(t("costs.coarse")) : "",
    ...(costs.notes || []).map((text) => note(shown(text))),
  );
}
