// Charts as inline SVG, drawn at the width that they get, and anew when it changes.
const charts = new Set();

/** A chart in a box: `draw(width)` gives its SVG. */
function chart(draw, attributes = {}) {
  const box = el("div", { class: "chart", ...attributes });
  box.redraw = () => {
    const wide = Math.round(box.clientWidth);
    if (!wide || wide === box.drawn) return;
    box.drawn = wide;
    try {
      box.replaceChildren(draw(wide));
    } catch (error) {
      // The charts after this one are drawn all the same.
      box.replaceChildren(note(t("failed", { why: error.message })));
      console.error(error);
    }
  };
  charts.add(box);
  sizes.observe(box);
  return box;
}

const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => target.redraw()));

function redrawCharts() {
  for (const box of charts) {
    box.drawn = null;
    box.redraw();
  }
}

const sheet = (wide, high, label, ...children) =>
  svg(
    "svg",
    { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "group", "aria-label": label },
    ...children,
  );
const words = (x, y, text, attributes = {}) => svg("text", { x, y, ...attributes }, text);
const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });

/**
 * Round numbers that part a range in about `many` steps, two of them at least. Steps of 1, 2 or 5 need no digit more than
 * their size.
 */
function ticksOf(low, high, many) {
  const rough = (high - low) / Math.max(1, many) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factors = [0.5, 1, 2, 5, 10];
  const fit = factors.findIndex((factor, i) => i > 0 && factor * power >= rough * 0.999);
  const ticks = ticksBy(low, high, factors[fit] * power);
  return ticks.at.length > 1 ? ticks : ticksBy(low, high, factors[fit - 1] * power);
}

function ticksBy(low, high, step) {
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) ticks.push(at * step);
  const digits = Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)));
  return { at: ticks, word: (value) => (Math.abs(value) >= 1e5 ? num(value) : minus(value.toFixed(digits))) };
}

/** The range of numbers with a margin; a range of no width gets one. */
function rangeOf(values) {
  const numbers = values.filter(isNumber);
  if (!numbers.length) return [0, 1];
  return widened(Math.min(...numbers), Math.max(...numbers), 0.07);
}

/** A range with a margin; what differs by rounding alone is as good as equal, and gets room around it. */
function widened(low, high, share) {
  const flat = high - low <= 1e-6 * Math.max(Math.abs(low), Math.abs(high));
  const margin = flat ? Math.max(Math.abs(high) * 0.07, 1e-3) : (high - low) * share;
  return [low - margin, high + margin];
}

/** Names along an axis, as many as fit. */
function namesAlong(names, place, room, y, attributes = {}) {
  const longest = Math.max(...names.map((name) => name.length), 1);
  const every = Math.max(1, Math.ceil((7 * longest + 6) / Math.max(1, room)));
  return names.map((name, i) =>
    i % every ? null : words(place(i), y, name, { class: "tick", "text-anchor": "middle", ...attributes }),
  );
}

/** The places of the layers that an axis names: where sites stand between the outputs of blocks, those of the outputs. */
function namedPlaces(layers) {
  const places = layers.map((_, i) => i);
  const outputs = places.filter((i) => !siteOf(layers[i]));
  return outputs.length ? outputs : places;
}

/** The names of layers along an axis of depth, as many as fit; `step` is the room of each layer. */
function layerNames(layers, x, step, y) {
  const named = namedPlaces(layers);
  const room = named.length > 1 ? (step * (named.at(-1) - named[0])) / (named.length - 1) : step;
  return namesAlong(named.map((i) => shown(layers[i])), (i) => x(named[i]), room, y);
}

/** What the colours of sites mean, if any of the layers is a site. */
function siteKeys(layers) {
  const sites = [...new Set(layers.map(siteOf))].filter(Boolean);
  const dot = (name) => svg("circle", { cx: 6, cy: 6, r: 4, class: `dot ${name}` });
  const outputs = layers.some((name) => !siteOf(name)) ? [[t("probe.layer"), dot("ink0")]] : [];
  return [...outputs, ...sites.map((name) => [t(`probe.site.${name}`), dot(`ink-${name}`)])];
}

/** The runs of numbers of each site, in order of depth: [site, positions]. */
function siteRuns(layers, values) {
  return [...new Set(layers.map(siteOf))].flatMap((site) => {
    const own = layers.map((_, i) => i).filter((i) => siteOf(layers[i]) === site);
    return runs(own.map((i) => values[i])).map((run) => [site, run.map((at) => own[at])]);
  });
}

/** Lines of numbers along the layers: `series` [{name, values, low, high, style}]; null is a gap. */
function layerLines({ layers, series, unit, high = 190, label, bars = false, ends, floor, decimals }) {
  return (wide) => {
    const [right, top, bottom] = [12, 12, 40];
    const all = series.flatMap((curve) => [...curve.values, ...(curve.low ?? []), ...(curve.high ?? [])]);
    const range = ends ? [...ends] : rangeOf(bars ? [...all, 0] : all);
    if (bars) range[0] = Math.max(0, range[0]);
    const ticks = ticksOf(range[0], range[1], high / 34);
    const longest = Math.max(...ticks.at.map((value) => ticks.word(value).length), 1);
    const left = Math.max(52, 7.4 * longest + (unit ? 28 : 8));
    const step = (wide - left - right) / layers.length;
    const x = (i) => left + step * (i + 0.5);
    const y = (value) => top + (high - top - bottom) * (1 - (value - range[0]) / (range[1] - range[0]));
    const grid = ticks.at.flatMap((value) => [
      line(left, y(value), wide - right, y(value), "grid"),
      words(left - 6, y(value) + 4, ticks.word(value), { class: "tick", "text-anchor": "end" }),
    ]);
    const marks = [];
    const bodies = series.map((curve, s) => {
      const inks = `ink${curve.ink ?? s}`;
      const parts = [];
      if (!bars)
        for (const [site, run] of siteRuns(layers, curve.values))
          parts.push(
            svg("polyline", {
              class: `curve ${site ? `ink-${site}` : inks}`,
              points: run.map((i) => `${x(i)},${y(curve.values[i])}`).join(" "),
            }),
          );
      if (!bars && curve.low)
        for (const [site, run] of siteRuns(
          layers,
          curve.low.map((low, i) => (isNumber(low) && isNumber(curve.high[i]) ? low : null)),
        ))
          parts.unshift(
            band(
              run,
              x,
              (i) => y(curve.low[i]),
              (i) => y(curve.high[i]),
              site ? `ink-${site}` : inks,
            ),
          );
      curve.values.forEach((value, i) => {
        if (!isNumber(value)) return;
        const span = step * 0.7;
        const thick = span / series.length;
        const at = bars ? x(i) - span / 2 + thick * (s + 0.5) : x(i);
        const spread = interval(curve.low?.[i], curve.high?.[i], decimals);
        const caption =
          entryWord(
            (series.length > 1 ? curve.name + t("comma.clause") : "") + layerWord(layers[i]),
            spaced(num(value, decimals), spread),
          );
        const body = bars
          ? svg("rect", {
              x: at - thick * 0.45,
              y: y(value),
              width: thick * 0.9,
              height: Math.max(0.5, y(range[0]) - y(value)),
              class: `bar ${inks}`,
            })
          : svg("circle", { cx: at, cy: y(value), r: 3.2, class: `dot ${siteOf(layers[i]) ? `ink-${siteOf(layers[i])}` : inks}` });
        const mark = svg("g", { class: "mark", role: "img" }, body);
        if (bars && spread) mark.append(line(at, y(curve.low[i]), at, y(curve.high[i]), "whisker"));
        if (!bars) mark.append(svg("circle", { cx: at, cy: y(value), r: 11, class: "touch" }));
        marks.push([i, s, describe(mark, caption)]);
      });
      return parts;
    });
    const gaps = layers.map((name, i) =>
      series.some((curve) => isNumber(curve.values[i]))
        ? null
        : words(x(i), high - bottom - 4, "–", { class: "tick", "text-anchor": "middle" }),
    );
    marks.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    roving(marks.map(([, , mark]) => mark));
    return sheet(
      wide,
      high,
      label,
      grid,
      line(left, high - bottom, wide - right, high - bottom, "axis"),
      floor ? floorLines(floor, x, y, step) : null,
      bodies,
      marks.map(([, , mark]) => mark),
      gaps,
      layerNames(layers, x, step, high - bottom + 16),
      words((left + wide - right) / 2, high - 6, t("axis.layer"), {
        class: "axis-name",
        "text-anchor": "middle",
      }),
      unit
        ? words(
            -(high - bottom) / 2,
            12,
            unit.length > high / 6 ? `${unit.slice(0, Math.floor(high / 6))}…` : unit,
            { class: "axis-name", transform: "rotate(-90)", "text-anchor": "middle" },
          )
        : null,
    );
  };
}

/** What rows without any relation give, dashed; it is as wide as the layers that it is known of. */
const floorLines = (floor, x, y, step) =>
  runs(floor).map((run) => {
    const points = run.map((i) => [x(i), y(floor[i])]);
    const [first, last] = [points[0], points.at(-1)];
    return svg("polyline", {
      class: "floor",
      points: [[first[0] - step * 0.4, first[1]], ...points, [last[0] + step * 0.4, last[1]]].join(" "),
    });
  });

const band = (run, x, low, high, inks) =>
  svg("polygon", {
    class: `band ${inks}`,
    points: [
      ...run.map((i) => `${x(i)},${low(i)}`),
      ...run.toReversed().map((i) => `${x(i)},${high(i)}`),
    ].join(" "),
  });

/** Stretches of places with a number. */
function runs(values) {
  const stretches = [];
  values.forEach((value, i) => {
    if (!isNumber(value)) return;
    if (stretches.length && stretches.at(-1).at(-1) === i - 1) stretches.at(-1).push(i);
    else stretches.push([i]);
  });
  return stretches;
}

/** What colours of lines stand for. */
function keys(names) {
  return el(
    "p",
    { class: "keys" },
    names.map(([name, shape], i) =>
      el(
        "span",
        {},
        svg(
          "svg",
          { viewBox: "0 0 14 12", class: "dot", "aria-hidden": "true" },
          shape ?? svg("rect", { x: 1, y: 1, width: 10, height: 10, class: `ink${i} bar` }),
        ),
        name,
      ),
    ),
  );
}
