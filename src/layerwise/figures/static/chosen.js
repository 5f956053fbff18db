// What is chosen: a point with its neighbours at two layers, or what a rectangle held.
const LISTED = 40; // texts of a rectangle that are listed

/** What a row says: a text, or a word in its text. */
function textOf(hit, most) {
  if (hit.text === null || hit.text === undefined)
    return el("span", { class: "quiet" }, t("row", { n: count(hit.row) }));
  if (hit.context === undefined)
    return unknownMark(userText(hit.text || t("empty"), "bdi", most), hit.unknown > 0);
  const letters = Array.from(hit.context); // offsets are in code points
  const part = (from, to) => shown(letters.slice(from, to).join(""));
  const around = Math.floor(most / 4);
  return el(
    "bdi",
    { class: "said", dir: "auto" },
    hit.start > around ? "…" : "",
    part(Math.max(0, hit.start - around), hit.start),
    el(
      "mark",
      {},
      unknownMark(hit.end > hit.start ? part(hit.start, hit.end) : shown(hit.text), hit.unknown > 0),
    ),
    part(hit.end, hit.end + around),
    letters.length > hit.end + around ? "…" : "",
  );
}

/** Whether neighbours and searches know only the rows on the map, as the page has no others. */
const isSample = (scene) => !scene.points.remote && scene.n < scene.points.of;

/** A row as a button that chooses it; rows that aren't on the map are words only. */
function pointButton(scene, hit, content = textOf(hit, 140)) {
  const icon = (mark) => markIcon(mark, hit.kind, hit.kind && t(`near.${hit.kind}.short`));
  if (hit.point === null || hit.point === undefined)
    return el("div", { class: "entry quiet", title: t("not.shown") }, hit.kind && icon(null), content);
  return el(
    "button",
    { type: "button", class: "entry", onclick: () => scene.choose(hit.point) },
    icon(scene.marks[scene.of[hit.point]]),
    content,
  );
}

/** The chosen point: its text, its columns, and its nearest at this layer beside those at another. */
function chosenCard(scene, map) {
  const card = el("div", { class: "card", id: "chosen" }, note(t("chosen.none")));
  let picked = null; // the layer to compare with, if the reader chose one
  let turn = 0;
  let ringed = null; // the layer whose neighbours are ringed
  const draw = async () => {
    const point = scene.chosen;
    const mine = (turn += 1);
    const layer = scene.layer;
    if (ringed?.point !== point || ringed.layer !== layer) map.ring([]);
    ringed = { point, layer };
    if (point === null) return card.replaceChildren(note(t("chosen.none")));
    const other = picked === null || picked === layer ? partnerOf(layer, scene) : picked;
    const pair = [layer, other].sort((a, b) => a - b);
    const [hit, sides] = await Promise.all([scene.source.text(point), nearestAt(scene, point, pair)]);
    if (mine !== turn) return undefined;
    card.replaceChildren(
      el(
        "div",
        { class: "row" },
        el("h3", {}, t("chosen")),
        el("button", { type: "button", onclick: () => scene.choose(null) }, t("clear")),
      ),
      el("p", { class: "whole" }, textOf(hit, 400)),
      hit.clipped ? note(t("clipped")) : "",
      [hit, ...(sides ?? []).flat()].some((entry) => entry.unknown > 0) ? unknownKey(t("unknown.key")) : "",
      valueList(scene, point, hit.row),
      ...(sides ? nearPart(pair, sides, other) : [note(t("near.none"))]),
    );
    map.ring(sides ? ringsOf(sides[pair.indexOf(layer)]) : []);
    announce(
      t("said.chosen", {
        text: short(hit.text ?? t("row", { n: hit.row }), 100),
        layer: layerWord(scene.layers[layer]),
      }),
    );
    return undefined;
  };
  const nearPart = (pair, sides, other) => {
    if (scene.layers.length < 2)
      return [el("h3", {}, t("near")), nearestList(scene, sides[0].map((hit) => ({ ...hit, kind: null })))];
    const pick = select(
      t("near.beside"),
      scene.layers.map((name, i) => [i, layerWord(name)]).filter(([i]) => i !== scene.layer),
      (value) => {
        picked = Number(value);
        draw().then(() => $("near-other")?.focus(), report);
      },
      { id: "near-other" },
    );
    pick.box.value = other;
    return [
      el("h3", {}, t("near")),
      pick.label,
      isSample(scene) ? note(t("near.sample", { n: count(scene.n) })) : "",
      ...neighbourLists(scene, pair, sides),
    ];
  };
  const redraw = () => draw().catch(report);
  for (const change of ["choose", "layer", "colour", "theme"]) scene.on(change, redraw);
  return card;
}

/** What a point has in the columns. */
const valueList = (scene, point, row) =>
  el(
    "dl",
    { class: "values" },
    scene.columns.flatMap((column) => [
      el("dt", {}, userText(column.name, "bdi", 40)),
      el("dd", {}, userText(valueOf(column, point), "bdi", 80)),
    ]),
    el("dt", {}, t("row.name")),
    el("dd", {}, count(row)),
  );

/** What a rectangle held when it was drawn: how many of each class, and the texts. */
function boxCard(scene) {
  const card = el("div", { id: "boxed", class: "card", hidden: true });
  let inside = null;
  let layer = null;
  let turn = 0;
  const close = () => {
    turn += 1;
    inside = null;
    card.hidden = true;
  };
  const draw = async () => {
    if (!inside) return;
    const mine = (turn += 1);
    const seen = inside.filter((point) => scene.ink[point]);
    const some = await Promise.all(seen.slice(0, LISTED).map((point) => scene.source.text(point)));
    if (mine !== turn) return;
    const head = t("boxed", { n: count(seen.length), layer: layerWord(scene.layers[layer]) });
    card.replaceChildren(
      el(
        "div",
        { class: "row" },
        el("h3", {}, head),
        el("button", { type: "button", onclick: close }, t("clear")),
      ),
      seen.length < inside.length ? note(t("boxed.hidden", { n: count(inside.length - seen.length) })) : "",
      countsOf(scene, seen),
      el(
        "div",
        { class: "list" },
        some.map((entry) => pointButton(scene, entry)),
      ),
      seen.length > some.length ? note(t("boxed.first", { n: some.length })) : "",
    );
    card.hidden = false;
    announce(head);
  };
  const redraw = () => draw().catch(report);
  for (const change of ["colour", "hide", "theme"]) scene.on(change, redraw);
  scene.on("clear", close);
  const show = (points) => {
    [inside, layer] = [points, scene.layer];
    redraw();
  };
  return { card, show };
}

/** How many of some points are of each class; for a column of numbers their ends, middle and those without. */
function countsOf(scene, points) {
  const of = (n) => count(n) + t("aside", { words: percent(n / points.length) });
  let entries = [];
  if (scene.grouped) {
    const many = scene.grouped.groups.map(() => 0);
    for (const point of points) many[scene.of[point]] += 1;
    entries = scene.grouped.groups
      .map((group, i) => [[markIcon(scene.marks[i]), " ", userText(group.name, "bdi", 60)], of(many[i]), many[i]])
      .filter(([, , n]) => n);
  } else if (scene.range) {
    const values = Array.from(points, (point) => scene.column.values[point]);
    const known = values.filter(Number.isFinite).sort((a, b) => a - b);
    const middle = (known[(known.length - 1) >> 1] + known[known.length >> 1]) / 2;
    if (known.length)
      entries = [
        [t("boxed.lowest"), num(known[0])],
        [t("boxed.median"), num(middle)],
        [t("boxed.highest"), num(known.at(-1))],
      ];
    if (known.length < values.length) entries.push([t("no.value"), of(values.length - known.length)]);
  }
  return entries.length
    ? el(
        "dl",
        { class: "values" },
        entries.flatMap(([name, words]) => [el("dt", {}, name), el("dd", {}, words)]),
      )
    : "";
}
