// Puts the page together, once its data is there.
const frames = []; // milliseconds that drawing took, for those who measure

function report(error) {
  announce(t("failed", { why: String(error?.message ?? error).trim() }));
  const box = $("failure") ?? el("p", { id: "failure", class: "failure", role: "alert" });
  box.textContent = t("failed", { why: shown(error?.message ?? error).trim() });
  $("main").prepend(box);
}

/** Sections that can't be made say so, and the rest goes on. */
function part(id, make) {
  try {
    return make();
  } catch (error) {
    return section(id, t(id), el("p", { class: "failure" }, t("failed", { why: shown(error.message) })));
  }
}

async function start() {
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-label]"))
    node.setAttribute("aria-label", t(node.dataset.label));
  const data = await payload();
  const source = data.remote ? new Remote() : new Embedded(data);
  const head = await source.head();
  const scene = new Scene(source, head);
  showHeader(head);
  $("wait").remove();
  const drawn =
    scene.n && scene.layers.length
      ? part("map", () => mapSection(scene))
      : section("map", t("map"), note(t("map.none")));
  const sides = drawn.map && scene.layers.length > 1 ? compareSection(scene, head.analysis) : null;
  const compare = sides?.open ?? (() => announce(t("map.none")));
  const sections = [
    drawn.box ?? drawn,
    part("probe", () => probeSection(head.probe)),
    part("matrix", () => matrixSection(scene, head.analysis, compare)),
  ];
  if (sides) {
    const open = el(
      "button",
      {
        type: "button",
        id: "compare-open",
        onclick: () => compare(),
      },
      t("compare.open"),
    );
    sections[2].append(el("p", { class: "screen" }, open));
    sections.push(sides.box);
  }
  sections.push(
    part("geometry", () => geometrySection(head.analysis, head.probe)),
    part("tokens", () => tokensSection(head)),
    part("links", () => linksPart(head.links)),
    part("costs", () => costsPart(head.costs)),
  );
  $("main").append(...sections);
  $("nav").replaceChildren(
    ...["map", "probe", "matrix", "geometry", "tokens"].map((id) =>
      el("a", { href: `#${id}` }, t(`nav.${id}`)),
    ),
    ...["links", "costs"].filter($).map((id) => el("a", { href: `#${id}` }, t(id))),
  );
  for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", within);
  showFooter(head);
  drawn.slider?.set(scene.at);
  listen(scene, drawn);
  window.layerwise = { frames, scene, slider: drawn.slider, map: drawn.map, sides: sides?.maps };
  document.documentElement.dataset.ready = "";
}

/** Goes to a part of the page itself: within a notebook's frame an address would lead out of it. */
function within(event) {
  event.preventDefault();
  const target = document.querySelector(event.currentTarget.getAttribute("href"));
  target?.scrollIntoView({ behavior: STILL.matches ? "auto" : "smooth" });
  target?.setAttribute("tabindex", -1);
  target?.focus({ preventScroll: true });
}

function listen(scene, { slider, map }) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key === "Escape") {
      tip.hide();
      scene.emit("clear");
      if (scene.chosen !== null) scene.choose(null);
      if ($("compare")) $("compare").hidden = true;
      slider?.play(false);
      return announce(t("said.clear"));
    }
    if (event.defaultPrevented || typing || event.ctrlKey || event.metaKey || event.altKey || !slider)
      return undefined;
    if (event.key === "/") {
      event.preventDefault();
      $("search").focus();
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && !event.target.closest?.(".scroll")) {
      event.preventDefault();
      slider.go(scene.layer + step);
    }
    return undefined;
  });
  scene.on("layer", () => announce(layerWord(scene.layers[scene.layer])));
  const repaint = () => {
    scene.repaint();
    scene.emit("theme");
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  themeButton(repaint);
  printing(repaint);
  map?.canvas.addEventListener("blur", () => tip.hide());
}

/** Light, dark, or as the system has it. */
function themeButton(repaint) {
  const button = $("theme");
  const say = () => (button.textContent = t(theme() === "dark" ? "theme.light" : "theme.dark"));
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    say();
    repaint();
  });
  say();
}

/** Paper is light, and what is behind a click stands open on it. */
function printing(repaint) {
  const opened = [];
  let before;
  let on = false;
  const begin = () => {
    if (on) return;
    on = true;
    before = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    document.documentElement.dataset.print = "";
    for (const box of document.querySelectorAll(
      "details.as-table:not(.unprinted):not([open]), .advice details:not([open])",
    )) {
      box.fill?.();
      box.open = true;
      opened.push(box);
    }
    redrawCharts();
    repaint();
  };
  const end = () => {
    if (!on) return;
    on = false;
    if (before === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = before;
    delete document.documentElement.dataset.print;
    for (const box of opened.splice(0)) box.open = false;
    redrawCharts();
    repaint();
  };
  addEventListener("beforeprint", begin);
  addEventListener("afterprint", end);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? begin() : end()));
}

start().catch(report);
