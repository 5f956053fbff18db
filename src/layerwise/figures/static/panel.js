// The map and what stands beside it: colours with their legend, and the search.

function mapSection(scene) {
  const points = scene.points;
  const drawn =
    points.of > points.count
      ? t("map.sample", { n: count(points.count), of: count(points.of), seed: points.seed ?? "–" })
      : t("map.all", { n: count(points.count) });
  const method = t(points.method === "umap" ? "map.umap" : "map.pca");
  const box = section("map", t("map"), el("p", { class: "lead" }, joined([drawn, method])));
  const side = el("div", { class: "side" });
  const boxed = boxCard(scene);
  const map = new PointMap(scene, t("map.label"), {
    hover: (point, event) => hoverTip(scene, point, event),
    pick: (point) => scene.choose(point),
    box: boxed.show,
  });
  const slider = new LayerSlider(scene, (at) => map.go(at));
  const rectangles = el(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      onclick: () => {
        map.rectangles = !map.rectangles;
        rectangles.setAttribute("aria-pressed", map.rectangles);
        map.canvas.classList.toggle("boxing", map.rectangles);
      },
    },
    t("rectangle"),
  );
  const tools = el(
    "div",
    { class: "tools" },
    el("button", { type: "button", "aria-label": t("zoom.in"), onclick: () => map.zoom(1.4) }, "+"),
    el("button", { type: "button", "aria-label": t("zoom.out"), onclick: () => map.zoom(1 / 1.4) }, "−"),
    el("button", { type: "button", onclick: () => map.reset() }, t("reset")),
    rectangles,
  );
  const axes = el("p", { class: "note", id: "axes" });
  scene.on("layer", () => {
    const shares = points.explained?.[scene.layer];
    axes.textContent = shares?.every(isNumber)
      ? t("map.explained", { x: percent(shares[0]), y: percent(shares[1]) })
      : "";
  });
  side.append(colourCard(scene), searchCard(scene), boxed.card);
  box.append(
    el(
      "div",
      { class: "stage" },
      el(
        "div",
        { class: "plane" },
        slider.box,
        tools,
        map.canvas,
        axes,
        el("p", { class: "note hint" }, t("map.hint")),
        el("p", { class: "note hint touch" }, t("map.hint.touch")),
      ),
      side,
      chosenCard(scene, map),
    ),
  );
  scene.emit("layer");
  scene.source.onpart = () => scene.emit("paint");
  return { box, map, slider };
}

/** The text of a point and what it has in the columns, beside the pointer; nothing for null. */
async function hoverTip(scene, point, event) {
  hoverTip.last = point;
  if (point === null) return tip.hide();
  const values = scene.columns
    .slice(0, 6)
    .map((column) =>
      el("span", {}, userText(column.name, "bdi", 40), t("colon"), userText(valueOf(column, point), "bdi", 80)),
    );
  const place = [event.clientX, event.clientY];
  const hit = await scene.source.text(point).catch(() => ({ text: null }));
  if (hoverTip.last === point) tip.show(...place, [textOf(hit, 220), ...values]);
  return undefined;
}

function colourCard(scene) {
  const options = [...scene.columns.map((column, i) => [i, short(column.name, 40)]), ["", t("colour.none")]];
  const by = select(t("colour"), options, (value) => scene.colourBy(value === "" ? null : Number(value)), {
    id: "colour",
  });
  const legend = el("div", { id: "legend" });
  const draw = () => legend.replaceChildren(...legendOf(scene));
  for (const change of ["colour", "hide", "theme"])
    scene.on(change, () => {
      const at = [...legend.querySelectorAll("button, select")].indexOf(document.activeElement);
      draw();
      legend.querySelectorAll("button, select")[at]?.focus();
    });
  draw();
  return el("div", { class: "card" }, by.label, scene.columns.length ? legend : note(t("no.columns")));
}

function legendOf(scene) {
  if (scene.range) return numberLegend(scene);
  if (!scene.grouped) return scene.column ? [note(t("no.values"))] : [];
  const { groups, others } = scene.grouped;
  const keys = groups.map((group, i) => legendKey(scene, group, i));
  if (groups.length > 2) {
    const all = scene.hidden.size < groups.length;
    keys.push(
      el(
        "button",
        { type: "button", id: "hide-all", onclick: () => scene.hideAll(all) },
        t(all ? "legend.hide" : "legend.show"),
      ),
    );
  }
  if (others.length) keys.push(othersPick(scene, others));
  return keys;
}

/** A class of the legend: a click hides its points, or shows them. */
const legendKey = (scene, group, i) =>
  el(
    "button",
    {
      type: "button",
      class: "key",
      "aria-pressed": String(!scene.hidden.has(i)),
      title: t("legend.toggle"),
      onclick: () => {
        scene.hide(i, !scene.hidden.has(i));
        announce(t(scene.hidden.has(i) ? "said.hidden" : "said.shown", { name: short(group.name, 40) }));
      },
    },
    markIcon(scene.marks[i]),
    userText(group.name, "bdi", 60),
    el("span", { class: "quiet amount" }, count(group.count)),
  );

/** Of more classes than there are marks, the reader chooses which have one. */
function othersPick(scene, others) {
  const options = others.map(([code, n]) => [code, `${short(className(scene.column, code), 40)} (${count(n)})`]);
  const pick = select(
    t("others.pick"),
    [["", t("others.choose")], ...options],
    (value) => {
      if (value === "") return;
      scene.pick(Number(value));
      announce(t("said.shown", { name: short(className(scene.column, Number(value)), 40) }));
    },
    { id: "others" },
  );
  return pick.label;
}

function numberLegend(scene) {
  const none = scene.column.values.reduce((sum, value) => sum + !Number.isFinite(value), 0);
  const key = none
    ? el("span", { class: "key" }, markIcon(scene.marks[STEPS]), t("no.value"), el("span", { class: "quiet amount" }, count(none)))
    : "";
  return [rampLegend(...scene.range, pointRamp), key];
}

const endWord = (value) => (value === 0 ? "0" : num(value));

function rampLegend(low, high, colour = ramp) {
  const steps = Array.from({ length: 48 }, (_, i) =>
    svg("rect", { x: i * 5, width: 5.5, height: 12, fill: css(colour(i / 47)) }),
  );
  const words = el("div", { class: "ends" }, el("span", {}, endWord(low)), el("span", {}, endWord(high)));
  return el(
    "div",
    { class: "ramp" },
    svg("svg", { viewBox: "0 0 240 12", preserveAspectRatio: "none", "aria-hidden": "true" }, steps),
    words,
  );
}

function searchCard(scene) {
  const list = el("div", { id: "hits", class: "list" });
  const many = el("p", { class: "note", id: "hit-count" });
  const none = scene.points.texts === null && !scene.points.remote;
  let turn = 0;
  let listed = null; // what was looked for and the first of what has it
  const draw = () => {
    if (listed)
      list.replaceChildren(...listed.hits.map((hit) => pointButton(scene, hit, snippet(hit, listed.query))));
  };
  const run = async () => {
    const query = input.value;
    const mine = (turn += 1);
    if (!query) {
      listed = null;
      list.replaceChildren();
      many.textContent = "";
      return scene.find(null);
    }
    const { points, total, hits } = await scene.source.search(query);
    if (mine !== turn) return undefined; // typed on since
    many.textContent = t(total > hits.length ? "hits.first" : "hits", {
      n: count(total),
      first: hits.length,
    });
    announce(many.textContent);
    listed = { query, hits };
    draw();
    return scene.find(points);
  };
  for (const change of ["colour", "theme"]) scene.on(change, draw);
  const input = el("input", {
    type: "search",
    id: "search",
    placeholder: t("search.hint"),
    disabled: none,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      clearTimeout(input.timer);
      input.timer = setTimeout(() => run().catch(report), 120);
    },
    onkeydown: (event) => {
      if (event.key === "Enter") list.querySelector("button")?.click();
    },
  });
  scene.on("clear", () => {
    input.value = "";
    run();
  });
  return el(
    "div",
    { class: "card" },
    el("label", { class: "field" }, el("span", {}, t("search")), input),
    none ? note(t("no.text")) : isSample(scene) ? note(t("search.sample", { n: count(scene.n) })) : null,
    many,
    list,
  );
}

/** A hit with what was looked for marked, and a little around it. */
function snippet(hit, query) {
  const text = hit.text ?? "";
  const at = text.toLowerCase().indexOf(query.toLowerCase());
  // A word is shown in its text: it alone would be the same line again and again.
  if (at < 0 || hit.context !== undefined) return textOf(hit, 120);
  const from = Math.max(0, at - 30);
  const part = (a, b) => shown(text.slice(a, b));
  return el(
    "bdi",
    { class: "said", dir: "auto" },
    from ? "…" : "",
    part(from, at),
    el("mark", {}, part(at, at + query.length)),
    part(at + query.length, at + query.length + 70),
  );
}
