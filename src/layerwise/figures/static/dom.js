// Making elements. Text goes in as text nodes and nothing is ever parsed as markup.
const $ = (id) => document.getElementById(id);
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** User text in a box of its own, so that its direction of writing stays its own. */
const userText = (text, tag = "bdi", most = 2000) => el(tag, { class: "said", dir: "auto" }, short(text, most));

/** Content with the mark of unknown tokens, where it has some: hatched, underlined, and in words for screen readers. */
const unknownMark = (content, isUnknown) =>
  isUnknown
    ? el(
        "span",
        { class: "unknown", title: t("unknown.title") },
        content,
        el("span", { class: "unseen" }, ` ${t("unknown.said")}`),
      )
    : content;

/** What the mark stands for. */
const unknownKey = (words) =>
  el(
    "p",
    { class: "keys unknown-key" },
    el("span", {}, el("span", { class: "unknown swatch", "aria-hidden": "true" }), words),
  );

/** The hatching of unknown tokens in a chart; `name` is its own on the page. */
const hatching = (name) =>
  svg(
    "defs",
    {},
    svg(
      "pattern",
      { id: name, width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: 1.7, height: 4, class: "hatch-line" }),
    ),
  );

function select(label, options, onchange, attributes = {}) {
  const box = el("select", { ...attributes, onchange: () => onchange(box.value) });
  for (const [value, words] of options) box.append(el("option", { value }, words));
  return { box, label: el("label", { class: "field" }, el("span", {}, label), box) };
}

/** A table in a box of its own that scrolls; cells are strings or nodes, numbers stand to the right. */
function table(header, rows, numeric = 1) {
  const cell = (tag) => (value, at) =>
    el(tag, { class: at >= numeric ? "number" : null, scope: tag === "th" ? "col" : null }, value);
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": t("table") },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, header.map(cell("th")))),
      el(
        "tbody",
        {},
        rows.map((row) => el("tr", {}, row.map(cell("td")))),
      ),
    ),
  );
}

/** A table behind "as a table", made when it is first opened; printing opens it. */
function asTable(make, print = true) {
  const summary = el("summary", {}, t("as.table"));
  const box = el("details", { class: print ? "as-table" : "as-table unprinted" }, summary);
  box.fill = () => {
    if (box.children.length === 1) box.append(make());
  };
  // A click fills it before it opens; `toggle` comes later, with the box shown empty until then, but also without a click.
  summary.addEventListener("click", () => box.fill());
  box.addEventListener("toggle", () => box.open && box.fill());
  return box;
}

const note = (words) => el("p", { class: "note" }, words);

function section(id, title, ...children) {
  return el(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title),
    ...children,
  );
}

/** The one tooltip of the page; `lines` are strings or nodes. */
const tip = {
  show(x, y, lines) {
    const box = $("tip");
    box.replaceChildren(...lines.map((line) => el("div", {}, line)));
    box.hidden = false;
    const [wide, high] = [box.offsetWidth, box.offsetHeight];
    const left = Math.max(6, Math.min(x + 14, innerWidth - wide - 10));
    const top = y + 18 + high > innerHeight ? Math.max(6, y - high - 12) : y + 18;
    box.style.left = `${left}px`;
    box.style.top = `${top}px`;
  },
  hide() {
    $("tip").hidden = true;
  },
};

/** Gives a mark its words, on hover, on focus and for screen readers. */
function describe(mark, lines) {
  const list = Array.isArray(lines) ? lines : [lines];
  mark.setAttribute("aria-label", list.join(t("comma")));
  mark.addEventListener("pointermove", (event) => tip.show(event.clientX, event.clientY, list));
  mark.addEventListener("pointerleave", () => tip.hide());
  mark.addEventListener("focus", () => {
    const box = mark.getBoundingClientRect();
    if (mark.matches(":focus-visible")) tip.show(box.right, box.bottom - 8, list);
  });
  mark.addEventListener("blur", () => tip.hide());
  return mark;
}

/** Makes a chart one stop of Tab: arrows go from mark to mark, `wide` of them in a row of a grid. */
function roving(marks, wide = 1) {
  marks.forEach((mark, at) => {
    mark.setAttribute("tabindex", at ? -1 : 0);
    mark.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
      if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = marks[at + step];
      if (!next) return;
      mark.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  });
}

/** Says what the state is, to those who listen. */
function announce(words) {
  $("state").textContent = words;
}
