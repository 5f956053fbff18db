// The map and what stands beside it: colours with their legend, and the search.

function mapSection(scene) {
  const points = scene.points;
  const drawn =
    points.of > points.count
      ? t("map.sample", { n: count(points.count), of: count(points.of), seed: points.seed ?? "–" })
      : t("map.all", { n: count(points.count) });
  const method = t(points.method === "umap" ? "map.umap" : "map.pca");
  const box = section("map", t("map"), el("p", { class: "lead" }, `${drawn} ${method}`));
  const side = el("div", { class: "side" });
  const boxed = el("div", { id: "boxed", class: "card", hidden: true });
  const map = new PointMap(scene, t("map.label"), {
    hover: (point, event) => hoverTip(scene, point, event),
    pick: (point) => scene.choose(point),
    box: (inside) => showBox(scene, boxed, inside),
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
  side.append(colourCard(scene), searchCard(scene), boxed);
  box.append(
    el(
      "div",
      { class: "stage" },
      el(
        "div",
        { class: "plane" },
        el("div", { class: "frame" }, map.canvas, tools),
        slider.box,
        axes,
        el("p", { class: "note hint" }, t("map.hint")),
      ),
      side,
      chosenCard(scene),
    ),
  );
  scene.emit("layer");
  scene.source.onpart = () => scene.emit("paint");
  return { box, map, slider };
}

/** The text of a point and what it has in the columns, beside the pointer. */
async function hoverTip(scene, point, event) {
  const values = scene.columns
    .slice(0, 6)
    .map((column) =>
      el("span", {}, userText(column.name, "bdi", 40), ": ", userText(valueOf(column, point), "bdi", 80)),
    );
  const place = [event.clientX, event.clientY];
  hoverTip.last = point;
  const hit = await scene.source.text(point).catch(() => ({ text: null }));
  if (hoverTip.last === point && point === hoverTip.last) tip.show(...place, [textOf(hit, 220), ...values]);
}

function colourCard(scene) {
  const options = [...scene.columns.map((column, i) => [i, short(column.name, 40)]), ["", t("colour.none")]];
  const by = select(t("colour"), options, (value) => scene.colourBy(value === "" ? null : Number(value)), {
    id: "colour",
  });
  const legend = el("div", { id: "legend" });
  const draw = () => legend.replaceChildren(...legendOf(scene));
  scene.on("colour", draw);
  scene.on("theme", draw);
  draw();
  return el("div", { class: "card" }, by.label, scene.columns.length ? legend : note(t("no.columns")));
}

function legendOf(scene) {
  if (scene.range) return [rampLegend(...scene.range)];
  if (!scene.grouped) return scene.column ? [note(t("no.values"))] : [];
  return scene.grouped.groups.map((group, i) => {
    const dot = svg(
      "svg",
      { viewBox: "0 0 12 12", class: "dot", "aria-hidden": "true" },
      svg("circle", { cx: 6, cy: 6, r: 5, fill: css(groupColour(group)) }),
    );
    const button = el(
      "button",
      {
        type: "button",
        class: "key",
        "aria-pressed": String(!scene.hidden.has(i)),
        title: t("legend.toggle"),
        onclick: () => {
          scene.hide(i, !scene.hidden.has(i));
          button.setAttribute("aria-pressed", String(!scene.hidden.has(i)));
          announce(t(scene.hidden.has(i) ? "said.hidden" : "said.shown", { name: short(group.name, 40) }));
        },
      },
      dot,
      userText(group.name, "bdi", 60),
      el("span", { class: "quiet amount" }, count(group.count)),
    );
    return button;
  });
}

function rampLegend(low, high) {
  const steps = Array.from({ length: 48 }, (_, i) =>
    svg("rect", { x: i * 5, width: 5.5, height: 12, fill: css(ramp(i / 47)) }),
  );
  const words = el("div", { class: "ends" }, el("span", {}, num(low)), el("span", {}, num(high)));
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
  const run = async () => {
    const query = input.value;
    const mine = (turn += 1);
    if (!query) {
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
    list.replaceChildren(...hits.map((hit) => pointButton(scene, hit, snippet(hit, query))));
    return scene.find(points);
  };
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
