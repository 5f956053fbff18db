// What is chosen: a point with its neighbours at two layers, or what a rectangle holds.
const LISTED = 40; // texts of a rectangle that are listed

/** What a row says: a text, or a word in its text. */
function textOf(hit, most) {
  if (hit.text === null || hit.text === undefined)
    return el("span", { class: "quiet" }, t("row", { n: count(hit.row) }));
  if (hit.context === undefined) return userText(hit.text || t("empty"), "bdi", most);
  const letters = Array.from(hit.context); // offsets are in code points
  const part = (from, to) => shown(letters.slice(from, to).join(""));
  const around = Math.floor(most / 4);
  return el(
    "bdi",
    { class: "said", dir: "auto" },
    hit.start > around ? "…" : "",
    part(Math.max(0, hit.start - around), hit.start),
    el("mark", {}, hit.end > hit.start ? part(hit.start, hit.end) : shown(hit.text)),
    part(hit.end, hit.end + around),
    letters.length > hit.end + around ? "…" : "",
  );
}

/** A row as a button that chooses it; rows that aren't on the map are words only. */
function pointButton(scene, hit, content = textOf(hit, 140)) {
  if (hit.point === null || hit.point === undefined)
    return el("div", { class: "entry quiet", title: t("not.shown") }, content);
  return el(
    "button",
    { type: "button", class: "entry", onclick: () => scene.choose(hit.point) },
    swatch(scene, hit.point),
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
    const [hit, nearHere, nearOther] = await Promise.all([
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
        el("dt", {}, userText(column.name, "bdi", 40)),
        el("dd", {}, userText(valueOf(column, point), "bdi", 80)),
      ]),
      el("dt", {}, t("row.name")),
      el("dd", {}, count(hit.row)),
    );
    card.replaceChildren(
      head,
      el("p", { class: "whole" }, textOf(hit, 400)),
      hit.clipped ? note(t("clipped")) : "",
      values,
      ...nearPart(nearHere, nearOther, layer),
    );
    scene.near = (nearHere ?? [])
      .map((entry) => entry.point)
      .filter((point) => point !== null && point !== undefined);
    scene.emit("paint");
    announce(
      t("said.chosen", {
        text: short(hit.text ?? t("row", { n: hit.row }), 100),
        layer: layerWord(scene.layers[layer]),
      }),
    );
    return undefined;
  };
  const nearPart = (nearHere, nearOther, layer) => {
    if (!nearHere) return [note(t("near.none"))];
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
    const rowsOfOther = nearOther.map((entry) => entry.row);
    const both = new Set(nearHere.map((entry) => entry.row).filter((row) => rowsOfOther.includes(row)));
    const list = (entries) =>
      el(
        "ol",
        {},
        entries.map((entry) =>
          el(
            "li",
            { class: both.has(entry.row) ? "both" : null },
            pointButton(
              scene,
              entry,
              el(
                "span",
                {},
                el("span", { class: "cosine", title: t("cosine") }, cosineWord(entry.cosine)),
                " ",
                textOf(entry, 90),
              ),
            ),
            both.has(entry.row) ? el("span", { class: "unseen" }, t("near.shared")) : null,
          ),
        ),
      );
    return [
      el("h3", {}, t("near")),
      pick.label,
      note(t("near.common", { n: both.size, of: nearHere.length })),
      el(
        "div",
        { class: "beside" },
        el("div", {}, el("h4", {}, layerWord(scene.layers[layer])), list(nearHere)),
        el("div", {}, el("h4", {}, layerWord(scene.layers[other])), list(nearOther)),
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
          el("dt", {}, userText(group.name, "bdi", 60)),
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
      some.map((entry) => pointButton(scene, entry)),
    ),
    more,
  );
  announce(t("boxed", { n: count(inside.length) }));
}
