// The learned mix: what each layer adds to the score first, then the weights of the fit and of its refits.
const LEAST_LOSS = 0.02; // the axis of losses is never narrower than this to either side

function learnedPart(learned, probe, scoresDigits) {
  const layers = byDepth(Object.keys(learned.weights));
  const metric = wordsOr(`metric.${learned.metric}`, plainName(learned.metric ?? t("learned.score")));
  const losses = layers.map((name) => learned.left_out?.[name]?.difference ?? null);
  const digits = scoreDigits(losses, probe.rows);
  const ranked = (learned.order?.length ? learned.order : layers).filter((name) => layers.includes(name));
  const box = el("div", { class: "part", id: "learned" }, el("h3", {}, t("learned")));
  if (losses.some((loss) => isNumber(loss?.value)))
    box.append(...lossParts(learned, layers, losses, metric, digits), ...twoScores(learned, probe, scoresDigits));
  box.append(asTable(() => learnedTable(learned, ranked, metric, digits)));
  box.append(...weightParts(learned, layers));
  if (learned.alike?.length === 2) {
    const [a, b] = learned.alike.map(shown);
    box.append(note(t("learned.alike", { a, b, cka: scoreText(learned.likeness, 2) })));
  }
  box.append(note(t("learned.caution")));
  return box;
}

/** The loss without each layer: what it shows, and the chart. */
function lossParts(learned, layers, losses, metric, digits) {
  const name = t("learned.loss", { metric });
  const items = losses.map((loss, i) => ({
    ...loss,
    lines: [entryWord(layerWord(layers[i]), spaced(scoreText(loss?.value, digits), scoreEnds(loss, digits)))],
  }));
  return [
    el("p", { class: "verdict", id: "ablation-verdict" }, neededWords(learned, metric, digits)),
    el("h4", {}, name),
    chart(layerSpread({ layers, items, reference: 0, least: LEAST_LOSS, label: name, unit: t("learned.loss.axis") }), { id: "ablation" }),
    note(t("learned.loss.note")),
  ];
}

/** Why the mix has another score among the candidates; nothing where both scores are written alike. */
function twoScores(learned, probe, digits) {
  const candidate = probe.candidates.find(({ mix }) => mix === learned.mix);
  const [score, here] = [candidate?.score, learned.score].map((value) => scoreText(value, digits));
  return score === here || score === "–" || here === "–" ? [] : [note(t("learned.two.scores", { score, here }))];
}

/** Which layers are needed; nothing where the result doesn't say. */
function neededWords(learned, metric, digits) {
  if (!Array.isArray(learned.needed)) return "";
  if (!learned.needed.length) return t("learned.none", { metric });
  const sentences = learned.needed.map((name) => {
    const loss = learned.left_out[name].difference;
    const interval = scoreEnds(loss, digits);
    return t("learned.needed", { name: shown(name), metric, loss: scoreText(loss.value, digits), interval });
  });
  if (learned.needed.length < Object.keys(learned.left_out).length) sentences.push(t("learned.no.other"));
  return joined(sentences);
}

/** The weights: what they single out, and the chart of the fit and of every refit. */
function weightParts(learned, layers) {
  const equal = 1 / layers.length;
  const items = layers.map((name) => {
    const weight = learned.weights[name];
    const refits = learned.refits?.[name] ?? [];
    const ends = scoreEnds(weight, 2);
    return {
      ...weight,
      refits,
      lines: [entryWord(layerWord(name), spaced(t("learned.fit"), scoreText(weight?.value, 2), ends))],
    };
  });
  const refits = Math.max(...items.map((item) => item.refits.length));
  return [
    el("p", { class: "verdict", id: "weights-verdict" }, leadingWords(learned, layers)),
    el("h4", {}, t("learned.weights")),
    keys([
      [t("learned.fit"), svg("circle", { cx: 6, cy: 6, r: 4, class: "dot ink0" })],
      ...(refits ? [[t("learned.refits", { n: refits }), svg("circle", { cx: 6, cy: 6, r: 2.4, class: "refit" })]] : []),
      [
        t("learned.equal", { share: scoreText(equal, 2) }),
        svg("line", { x1: 0, x2: 14, y1: 6, y2: 6, class: "axis", "stroke-dasharray": "4 2" }),
      ],
    ]),
    chart(
      layerSpread({ layers, items, reference: equal, floor: 0, label: t("learned.weights"), unit: t("learned.unit") }),
      { id: "weights" },
    ),
    ...(refits ? [asTable(() => refitTable(learned, layers, refits), layers.length <= 14)] : []),
  ];
}

/** What the weights single out: one layer, some that aren't distinguished, or nothing. */
function leadingWords(learned, layers) {
  const [leading, n] = [learned.leading, learned.draws];
  if (!leading?.length) return "";
  if (leading.length === 1) return t("learned.single", { name: shown(leading[0]), n });
  if (leading.length === layers.length) return t("learned.nothing", { n });
  return t("learned.several", { names: leading.map(shown).join(t("comma.list")), n });
}

/** Layers by the loss without them, the greatest first. */
function learnedTable(learned, ranked, metric, digits) {
  const ends = (item, places) => scoreEnds(item, places) || "–";
  const columns = [
    [t("layer"), (name) => shown(name)],
    [t("learned.loss", { metric }), (name) => scoreText(learned.left_out?.[name]?.difference?.value, digits)],
    [t("interval.name"), (name) => ends(learned.left_out?.[name]?.difference, digits)],
    [t("learned.without"), (name) => scoreText(learned.left_out?.[name]?.value, digits)],
    [t("interval.name"), (name) => ends(learned.left_out?.[name], digits)],
    [t("learned.weight"), (name) => scoreText(learned.weights[name]?.value, 2)],
    [t("interval.name"), (name) => ends(learned.weights[name], 2)],
    [t("learned.variance"), (name) => scoreText(learned.logit_variance?.[name]?.value, 2)],
    [t("interval.name"), (name) => ends(learned.logit_variance?.[name], 2)],
  ];
  return table(
    columns.map(([name]) => name),
    ranked.map((name) => columns.map(([, cell]) => cell(name))),
  );
}

/** A row per refit and a column per layer, as there may be more refits than fit beside each other on paper. */
function refitTable(learned, layers, refits) {
  const numbers = Array.from({ length: refits }, (_, i) => i);
  return table(
    [t("learned.refit"), ...layers.map(shown)],
    [
      [t("learned.fit"), ...layers.map((name) => scoreText(learned.weights[name]?.value, 2))],
      ...numbers.map((i) => [count(i + 1), ...layers.map((name) => scoreText(learned.refits[name]?.[i], 2))]),
    ],
  );
}

/**
 * A dot per layer, over the dots of its refits or over its interval, and a dashed line of reference.
 * `items` [{value, low, high, refits, lines}]; `floor` is the least number that there can be; the axis goes at least `least`
 * to either side of the reference.
 */
function layerSpread({ layers, items, reference, least = 0, floor = -Infinity, label, unit, high = 230 }) {
  return (wide) => {
    const [left, right, top, bottom] = [58, 12, 12, 40];
    const values = items.flatMap((item) => [item.value, ...(item.refits?.length ? item.refits : [item.low, item.high])]);
    const range = rangeOf([...values, reference - least, reference + least, ...(floor > -Infinity ? [floor] : [])]);
    range[0] = Math.max(floor - 0.04 * (range[1] - floor), range[0]);
    const step = (wide - left - right) / layers.length;
    const x = (i) => left + step * (i + 0.5);
    const y = (value) => top + (high - top - bottom) * (1 - (value - range[0]) / (range[1] - range[0]));
    const ticks = ticksOf(range[0], range[1], high / 34);
    const grid = ticks.at.flatMap((value) => [
      line(left, y(value), wide - right, y(value), "grid"),
      words(left - 6, y(value) + 4, ticks.word(value), { class: "tick", "text-anchor": "end" }),
    ]);
    const marks = items.map((item, i) => (isNumber(item.value) ? spreadMark(item, x(i), y, step) : null)).filter(Boolean);
    roving(marks);
    return sheet(
      wide,
      high,
      label,
      grid,
      svg("line", {
        ...{ x1: left, x2: wide - right, y1: y(reference), y2: y(reference) },
        ...{ class: "axis reference", "stroke-dasharray": "4 2" },
      }),
      marks,
      layerNames(layers, x, step, high - bottom + 16),
      words((left + wide - right) / 2, high - 6, t("axis.layer"), { class: "axis-name", "text-anchor": "middle" }),
      words(-(high - bottom + top) / 2, 13, short(unit, 30), {
        ...{ class: "axis-name", transform: "rotate(-90)", "text-anchor": "middle" },
      }),
    );
  };
}

/** The mark of one layer. Refits lie side by side, so that equal ones are all seen. */
function spreadMark(item, x, y, step) {
  const body = svg("g", { class: "mark", role: "img" });
  const refits = (item.refits ?? []).filter(isNumber);
  const room = Math.min(46, step * 0.7);
  refits.forEach((value, i) => {
    const aside = refits.length > 1 ? room * (i / (refits.length - 1) - 0.5) : 0;
    body.append(svg("circle", { cx: x + aside, cy: y(value), r: 2.2, class: "refit" }));
  });
  if (!refits.length && isNumber(item.low) && isNumber(item.high))
    body.append(line(x, y(item.low), x, y(item.high), "whisker ink0"));
  body.append(svg("circle", { cx: x, cy: y(item.value), r: 4.5, class: "dot ink0" }));
  body.append(svg("circle", { cx: x, cy: y(item.value), r: 12, class: "touch" }));
  return describe(body, item.lines);
}
