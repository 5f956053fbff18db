// What is chosen: a point with its neighbours at two layers, or what a rectangle holds.
const LISTED = 40; // texts of a rectangle that are listed

/** What a row says: a text, or a word in its text. */
function textOf(found, most) {
  if (found.text === null || found.text === undefined)
    return el("span", { class: "quiet" }, t("row", { n: count(found.row) }));
  if (found.context === undefined) return said(found.text || t("empty"), "bdi", most);
  const letters = Array.from(found.context); // offsets are in code points
  const part = (from, to) => shown(letters.slice(from, to).join(""));
  const around = Math.floor(most / 4);
  return el(
    "bdi",
    { class: "said", dir: "auto" },
    found.start > around ? "…" : "",
    part(Math.max(0, found.start - around), found.start),
    el("mark", {}, found.end > found.start ? part(found.start, found.end) : shown(found.text)),
    part(found.end, found.end + around),
    letters.length > found.end + around ? "…" : "",
  );
}

/** A row as a button that chooses it; rows that aren't on the map are words only. */
function pointButton(scene, found, content = textOf(found, 140)) {
  if (found.point === null || found.point === undefined)
    return el("div", { class: "entry quiet", title: t("not.shown") }, content);
  return el(
    "button",
    { type: "button", class: "entry", onclick: () => scene.choose(found.point) },
    swatch(scene, found.point),
    content,
  );
}

function swatch(scene, point) {
  const colour = scene.palette()[scene.groupOf(point)];
  return svg(
    "svg",
    { viewBox: "0 0 12 12", class: "dot", "aria-hidden": "true" },
    svg("circle", { cx: 6, cy: 6, r: 5, fill: css(colour) }),
  );
}

/** The chosen point: its text, its columns, and its nearest at this layer beside those at another. */
function chosenCard(scene) {
  const card = el("div", { class: "card", id: "chosen" }, note(t("chosen.none")));
  let other = Math.max(0, scene.layers.length - 1);
  let turn = 0;
  const draw = async () => {
    const point = scene.chosen;
    const mine = (turn += 1);
    if (point === null) return card.replaceChildren(note(t("chosen.none")));
    const layer = scene.layer;
    const [found, here, there] = await Promise.all([
      scene.source.text(point),
      scene.source.neighbours(point, layer),
      scene.source.neighbours(point, other),
    ]);
    if (mine !== turn) return undefined;
    const head = el(
      "div",
      { class: "row" },
      el("h3", {}, t("chosen")),
      el("button", { type: "button", onclick: () => scene.choose(null) }, t("clear")),
    );
    const values = el(
      "dl",
      { class: "values" },
      scene.columns.flatMap((column) => [
        el("dt", {}, said(column.name, "bdi", 40)),
        el("dd", {}, said(valueOf(column, point), "bdi", 80)),
      ]),
      el("dt", {}, t("row.name")),
      el("dd", {}, count(found.row)),
    );
    card.replaceChildren(
      head,
      el("p", { class: "whole" }, textOf(found, 400)),
      found.clipped ? note(t("clipped")) : "",
      values,
      ...nearPart(here, there, layer),
    );
    scene.near = (here ?? []).map((one) => one.point).filter((one) => one !== null && one !== undefined);
    scene.emit("paint");
    announce(
      t("said.chosen", {
        text: short(found.text ?? t("row", { n: found.row }), 100),
        layer: layerWord(scene.layers[layer]),
      }),
    );
    return undefined;
  };
  const nearPart = (here, there, layer) => {
    if (!here) return [note(t("near.none"))];
    const pick = select(
      t("near.beside"),
      scene.layers.map((name, i) => [i, layerWord(name)]),
      (value) => {
        other = Number(value);
        draw().then(() => $("near-other")?.focus(), report);
      },
      { id: "near-other" },
    );
    pick.box.value = other;
    const both = new Set(here.map((one) => one.row).filter((row) => there.some((two) => two.row === row)));
    const list = (found) =>
      el(
        "ol",
        {},
        found.map((one) =>
          el(
            "li",
            { class: both.has(one.row) ? "both" : null },
            pointButton(
              scene,
              one,
              el(
                "span",
                {},
                el("span", { class: "cosine", title: t("cosine") }, num(one.cosine)),
                " ",
                textOf(one, 90),
              ),
            ),
            both.has(one.row) ? el("span", { class: "unseen" }, t("near.shared")) : null,
          ),
        ),
      );
    return [
      el("h3", {}, t("near")),
      pick.label,
      note(t("near.common", { n: both.size, of: here.length })),
      el(
        "div",
        { class: "beside" },
        el("div", {}, el("h4", {}, layerWord(scene.layers[layer])), list(here)),
        el("div", {}, el("h4", {}, layerWord(scene.layers[other])), list(there)),
      ),
    ];
  };
  const redraw = () => draw().catch(report);
  scene.on("choose", redraw);
  scene.on("layer", redraw);
  scene.on("colour", redraw);
  return card;
}

/** What a rectangle holds: how many of each class, and the texts. */
async function showBox(scene, card, inside) {
  card.hidden = false;
  const close = el("button", { type: "button", onclick: () => (card.hidden = true) }, t("clear"));
  const head = el("div", { class: "row" }, el("h3", {}, t("boxed", { n: count(inside.length) })), close);
  const groups = scene.grouped?.groups ?? [];
  const many = groups
    .map((group, i) => [group, inside.filter((point) => scene.groupOf(point) === i).length])
    .filter(([, n]) => n);
  const counts = many.length
    ? el(
        "dl",
        { class: "values" },
        many.flatMap(([group, n]) => [
          el("dt", {}, said(group.name, "bdi", 60)),
          el("dd", {}, `${count(n)} (${percent(n / inside.length)})`),
        ]),
      )
    : null;
  const some = await Promise.all(inside.slice(0, LISTED).map((point) => scene.source.text(point)));
  const more = inside.length > some.length ? note(t("boxed.first", { n: some.length })) : "";
  card.replaceChildren(
    head,
    ...(counts ? [counts] : []),
    el(
      "div",
      { class: "list" },
      some.map((one) => pointButton(scene, one)),
    ),
    more,
  );
  announce(t("boxed", { n: count(inside.length) }));
}
