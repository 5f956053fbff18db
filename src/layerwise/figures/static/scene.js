// State of the maps: marks, and which points are hidden, found, chosen. All maps share one scene.
const STEPS = 64; // colours of a column of numbers

class Scene {
  constructor(source, head) {
    this.source = source;
    this.head = head;
    this.points = head.points;
    this.n = this.points?.count ?? 0;
    this.layers = (head.about?.layers ?? []).map(String);
    this.columns = this.points?.columns ?? [];
    this.at = firstLayer(this.layers, head.probe ?? {}); // between layers while the slider moves
    this.hidden = new Set();
    this.hits = null;
    this.chosen = null;
    this.pair = defaultPair(this.layers, head.probe);
    this.heard = new Map();
    this.ink = new Uint32Array(this.n);
    this.colourBy(this.columns.length ? 0 : null);
  }

  on(what, act) {
    this.heard.set(what, [...(this.heard.get(what) ?? []), act]);
  }

  emit(what) {
    for (const act of this.heard.get(what) ?? []) act();
  }

  get layer() {
    return Math.max(0, Math.min(this.layers.length - 1, Math.round(this.at)));
  }

  /** Colour by a column's number, or all alike. */
  colourBy(column) {
    this.column = column === null ? null : this.columns[column];
    this.picked = [];
    this.hidden.clear();
    this.regroup();
  }

  /** Gives a class of the others a mark of its own. */
  pick(code) {
    this.hidden.delete(slotOf(this.picked.length));
    this.picked.push(code);
    this.regroup();
  }

  /** Takes groups, their marks and the order of drawing anew. */
  regroup() {
    const { column, n } = this;
    this.grouped = column?.kind === "category" ? byCategory(column, this.picked) : null;
    this.range = column?.kind === "number" ? ends(column.values) : null;
    this.of = new Uint16Array(n);
    for (let i = 0; i < n; i += 1) this.of[i] = this.groupOf(i);
    if (this.grouped)
      this.order = drawingOrder(
        this.of,
        this.grouped.groups.map((group) => group.count),
        this.grouped.empty,
      );
    else {
      const without = this.of.map((group) => group === STEPS);
      const some = without.reduce((sum, value) => sum + value, 0);
      this.order = drawingOrder(without, [n - some, some], 1);
    }
    this.repaint();
    this.emit("colour");
  }

  /** Takes the colours of all points anew, and parts those behind from those in front. */
  repaint() {
    const paper = rgb(theme() === "dark" ? "#15171a" : "#ffffff");
    this.paper = pixel(paper);
    const hits = this.hits && new Set(this.hits);
    this.marks = this.palette();
    const full = this.marks.map(({ colour }) => pixel(colour));
    const dim = this.marks.map(({ colour }) => pixel(mixed(colour, paper, 0.86)));
    const front = [];
    const back = [];
    for (const i of this.order) {
      const group = this.of[i];
      const behind = hits && !hits.has(i);
      this.ink[i] = this.hidden.has(group) ? 0 : (behind ? dim : full)[group];
      if (this.ink[i]) (behind ? back : front).push(i);
    }
    this.passes = [Uint32Array.from(back), Uint32Array.from(front)];
    this.emit("paint");
  }

  /** The marks of groups, or of 64 steps of a ramp and of what has no value, or one for all: colour, shape, size. */
  palette() {
    const now = ({ colour, shape }, size = 1) => ({ colour: rgb(colour[theme()]), shape, size });
    if (this.grouped) return this.grouped.groups.map(({ mark, rare }) => now(mark, rare ? 1.3 : 1));
    if (!this.range) return [now({ colour: PLAIN, shape: "disc" })];
    const steps = Array.from({ length: STEPS }, (_, i) => pointRamp(i / (STEPS - 1)));
    return [
      ...steps.map((colour) => ({ colour, shape: "disc", size: 1 })),
      now({ colour: NONE, shape: "cross" }),
    ];
  }

  groupOf(point) {
    if (this.grouped) return this.grouped.of[point];
    if (!this.range) return 0;
    const [low, high] = this.range;
    const value = this.column.values[point];
    if (!Number.isFinite(value)) return STEPS;
    return high > low ? Math.round(((STEPS - 1) * (value - low)) / (high - low)) : STEPS / 2;
  }

  hide(group, whether) {
    if (whether) this.hidden.add(group);
    else this.hidden.delete(group);
    this.repaint();
    this.emit("hide");
  }

  /** Hides all groups, or shows them. */
  hideAll(whether) {
    this.hidden = new Set(whether ? this.grouped.groups.keys() : []);
    this.repaint();
    this.emit("hide");
  }

  /** Points that stand out, or null for all alike. */
  find(points) {
    this.hits = points;
    this.repaint();
  }

  choose(point) {
    this.chosen = point;
    this.emit("choose");
    this.emit("paint");
  }
}
