// One text: its tokens by layers, the path of each, and what each is close to.
const CLOSE = 5;

function tokensSection(head) {
  const texts = head.tokens ?? [];
  if (!texts.length)
    return section(
      "tokens",
      t("tokens"),
      note(head.tokens_note ? t("tokens.why", { why: shown(head.tokens_note) }) : t("tokens.none")),
    );
  const layers = (head.about?.layers ?? []).map(String);
  const body = el("div", {});
  const show = (at) => body.replaceChildren(...oneText(texts[at], texts[at].layers?.map(String) ?? layers));
  const pick = select(
    t("tokens.text"),
    texts.map((text, i) => [i, short(text.text ?? t("text.n", { n: text.doc }), 70)]),
    (value) => show(Number(value)),
    { id: "which-text" },
  );
  show(0);
  const total = head.about?.texts;
  const some = isNumber(total) && total > texts.length;
  const lead = [t("tokens.lead"), some && t("tokens.some", { n: texts.length, of: count(total) })];
  return section(
    "tokens",
    t("tokens"),
    el("p", { class: "lead" }, joined(lead)),
    pick.label,
    body,
  );
}

function oneText(text, layers) {
  const n = text.tokens.length;
  const names = text.tokens.map(
    (token, p) => short(token, 24) || (text.special?.[p] ? t("token.special") : t("token.n", { n: p })),
  );
  const state = {
    token: Math.max(0, text.special ? text.special.indexOf(false) : 0),
    mode: text.moves?.length ? "moves" : "norms",
  };
  const said = (token) => (text.unknown?.[token] ? spaced(names[token], t("unknown.said")) : names[token]);
  const strip = el("div", { id: "strip" });
  const close = el("div", { id: "close-tokens" });
  const paths = chart((wide) => pathChart(wide, text, names, layers, state), { id: "paths" });
  const draw = () => {
    strip.replaceChildren(stripTable(text, names, layers, state, choose));
    close.replaceChildren(
      el("h3", {}, t("tokens.close", { token: said(state.token) })),
      closeTable(text, names, layers, state.token),
    );
    paths.drawn = null;
    paths.redraw();
  };
  const choose = (token) => {
    state.token = token;
    draw();
    strip.querySelector(`[data-token="${token}"]`)?.focus({ preventScroll: true });
    announce(t("said.token", { token: said(token) }));
  };
  const modes = ["moves", "norms", "near"].filter((mode) => mode !== "moves" || text.moves?.length);
  const mode = select(
    t("tokens.colour"),
    modes.map((name) => [name, t(`tokens.${name}`)]),
    (value) => {
      state.mode = value;
      draw();
    },
    { id: "strip-colour" },
  );
  draw();
  const cut = isNumber(text.count) && text.count > n ? note(t("tokens.cut", { n, of: count(text.count) })) : "";
  const unread = text.truncated ? note(t("tokens.truncated", { n: count(text.truncated) })) : "";
  const unknown = text.unknown?.filter(Boolean).length ?? 0;
  const key = unknown ? unknownKey(t("unknown.some", { n: unknown, of: n })) : "";
  return [
    text.text === null || text.text === undefined
      ? ""
      : el("p", { class: "whole said", dir: "auto" }, short(text.text, 1200)),
    cut,
    unread,
    key,
    el(
      "div",
      { class: "halves" },
      el("div", {}, el("h3", {}, t("tokens.strip")), mode.label, strip, note(t("tokens.hint"))),
      el("div", {}, el("h3", {}, t("tokens.path")), paths, note(pathHint(text)), close),
    ),
    ...attentionPart(text, names),
  ];
}

/** What a cell of the strip shows, null where there is nothing. */
function stripValue(text, state, layer, token) {
  const n = text.tokens.length;
  if (state.mode === "norms") return text.norms[layer * n + token];
  if (state.mode === "near") return text.cosines[(layer * n + state.token) * n + token] / 127;
  return layer ? 1 - text.moves[(layer - 1) * n + token] : null;
}

/** Tokens by layers, a real table whose cells are coloured. */
function stripTable(text, names, layers, state, choose) {
  const all = layers.map((_, layer) => names.map((_, token) => stripValue(text, state, layer, token)));
  const flat = all.flat().filter(isNumber);
  const range = [Math.min(...flat), Math.max(...flat)];
  const rows = names.map((name, token) => {
    const button = el(
      "button",
      {
        type: "button",
        class: text.special?.[token] ? "token special" : "token",
        title: text.unknown?.[token] ? t("unknown.title") : null,
        "data-token": token,
        "aria-pressed": String(token === state.token),
        onclick: () => choose(token),
      },
      unknownMark(el("bdi", {}, name), text.unknown?.[token]),
    );
    const cells = layers.map((_, layer) => {
      const value = all[layer][token];
      const cell = el("td", { class: "heat" }, isNumber(value) ? brief(value) : "–");
      if (isNumber(value)) {
        const colour = ramp((value - range[0]) / (range[1] - range[0] || 1));
        cell.style.background = css(colour);
        cell.style.color = over(colour);
      }
      return cell;
    });
    return el("tr", {}, el("th", { scope: "row" }, button), cells);
  });
  const header = el(
    "tr",
    {},
    el("th", { scope: "col" }, t("token")),
    layers.map((name) => el("th", { scope: "col" }, shown(name))),
  );
  return el(
    "div",
    { class: "scroll tall", tabindex: 0, role: "group", "aria-label": t("tokens.strip") },
    el("table", { class: "strip" }, el("thead", {}, header), el("tbody", {}, rows)),
  );
}

/** What the plane of the paths shows, and how much of it. */
const pathHint = ({ shares }) =>
  joined([
    t("tokens.path.hint"),
    isNumber(shares?.steps) &&
      isNumber(shares?.distances) &&
      t("tokens.path.shares", { steps: percent(shares.steps, 1), distances: percent(shares.distances) }),
  ]);

/** A bar of a round length, at most `most` pixels long; `unit` is how many pixels a distance of 1 takes. */
function scaleBar(unit, most, x, y) {
  if (!isNumber(unit) || unit <= 0) return null;
  const far = most / unit;
  const power = 10 ** Math.floor(Math.log10(far));
  const length = [5, 2, 1].map((factor) => factor * power).find((length) => length <= far);
  return svg(
    "g",
    { class: "scale-bar" },
    svg("path", { d: `M${x} ${y - 4}v4h${(length * unit).toFixed(1)}v-4`, class: "axis" }),
    words(x + length * unit + 6, y + 2, t("tokens.path.bar", { length: String(Number(length.toPrecision(1))) }), { class: "tick" }),
  );
}

/** The path of every token over the layers; that of the chosen token is thick, and its end is named. */
function pathChart(wide, text, names, layers, state) {
  const n = names.length;
  const high = Math.min(420, Math.max(260, wide * 0.7));
  const sides = [0, 1].map((axis) => ends(text.coords.filter((_, i) => i % 2 === axis)) ?? [0, 0]);
  const [mx, my] = sides.map(([low, high]) => (low + high) / 2);
  const scale = Math.min(
    (wide - 70) / (sides[0][1] - sides[0][0] || 1),
    (high - 60) / (sides[1][1] - sides[1][0] || 1),
  );
  const place = (layer, token) => {
    const at = 2 * (layer * n + token);
    return [wide / 2 + (text.coords[at] - mx) * scale, high / 2 - (text.coords[at + 1] - my) * scale];
  };
  const path = (token) =>
    layers
      .map((_, layer) =>
        place(layer, token)
          .map((at) => at.toFixed(1))
          .join(","),
      )
      .join(" ");
  const order = names.map((_, token) => token).filter((token) => token !== state.token);
  const lineOf = (token) => (text.unknown?.[token] ? "path of-unknown" : "path");
  const body = order.map((token) => svg("polyline", { class: lineOf(token), points: path(token) }));
  const marks = [...order, state.token].map((token) => {
    const [x, y] = place(layers.length - 1, token);
    const mine = token === state.token;
    return describe(
      svg(
        "g",
        { class: "mark", role: "img" },
        endMark(x, y, mine, text.unknown?.[token]),
        svg("circle", { cx: x, cy: y, r: 9, class: "touch" }),
      ),
      text.unknown?.[token] ? spaced(names[token], t("unknown.said")) : names[token],
    );
  });
  roving(marks);
  const [x, y] = place(layers.length - 1, state.token);
  const [nameX, nameY] = [Math.min(Math.max(x, 40), wide - 40), Math.min(y + 19, high - 4)];
  const room = 8 * names[state.token].length;
  const named = namedSteps(
    layers.map((name, layer) => [...place(layer, state.token), 8 * shown(name).length]),
    [nameX - room / 2 - 6, nameY + 5, room],
  );
  const steps = layers.map((name, layer) => {
    const [x, y] = place(layer, state.token);
    return svg(
      "g",
      {},
      svg("circle", { cx: x, cy: y, r: 2.5, class: "dot ink1" }),
      !named.has(layer) ? "" : words(x + 6, y - 5, shown(name), { class: "tick halo" }),
    );
  });
  const name = words(nameX, nameY, names[state.token], {
    class: "path-name halo",
    "text-anchor": "middle",
  });
  return sheet(
    wide,
    high,
    t("tokens.path"),
    body,
    svg("polyline", { class: `${lineOf(state.token)} chosen`, points: path(state.token) }),
    hatching("hatch-paths"),
    marks,
    steps,
    name,
    text.reach ? scaleBar((32767 * scale) / text.reach, wide / 4, 8, high - 6) : null,
  );
}

/**
 * Which steps of a path are named, so that no name lies on another, nor on that of the token: `[x, y, width]` of each.
 * The last step comes first.
 */
function namedSteps(places, token) {
  const taken = [token];
  const fits = (step) => {
    const [x, y, wide] = places[step];
    const free = taken.every(
      ([left, top, width]) => x > left + width || left > x + wide || Math.abs(y - top) > 15,
    );
    if (free) taken.push(places[step]);
    return free;
  };
  return new Set([places.length - 1, ...places.keys()].filter(fits));
}

/** Where a path ends: a dot, or a hatched square for an unknown token. */
function endMark(x, y, mine, isUnknown) {
  const size = mine ? 5 : 3;
  if (!isUnknown) return svg("circle", { cx: x, cy: y, r: size, class: mine ? "dot ink1" : "dot faded" });
  const side = 2 * size + 2;
  return svg("rect", {
    x: x - side / 2,
    y: y - side / 2,
    width: side,
    height: side,
    class: mine ? "hatch mine" : "hatch",
    fill: "url(#hatch-paths)",
  });
}

/** The closest other tokens at every layer. */
function closeTable(text, names, layers, token) {
  const n = names.length;
  const rows = layers.map((name, layer) => {
    const from = (layer * n + token) * n;
    const order = names
      .map((_, other) => other)
      .filter((other) => other !== token)
      .sort((a, b) => text.cosines[from + b] - text.cosines[from + a]);
    return [
      shown(name),
      el(
        "span",
        { class: "closest" },
        order
          .slice(0, CLOSE)
          .map((other) =>
            el(
              "span",
              {},
              unknownMark(el("bdi", {}, names[other]), text.unknown?.[other]),
              " ",
              el("small", {}, cosineWord(text.cosines[from + other] / 127)),
            ),
          ),
      ),
    ];
  });
  return table([t("layer"), t("tokens.closest")], rows, 9);
}
