// State of the maps: colours, and which points are hidden, found, chosen. All maps share one scene.
class Scene {
  constructor(source, head) {
    this.source = source;
    this.head = head;
    this.points = head.points;
    this.n = this.points?.count ?? 0;
    this.layers = (head.about?.layers ?? []).map(String);
    this.columns = this.points?.columns ?? [];
    this.at = 0; // between layers while the slider moves
    this.hidden = new Set();
    this.hits = null;
    this.chosen = null;
    this.near = [];
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
    this.hidden.clear();
    const chosenColumn = this.column;
    this.grouped = chosenColumn?.kind === "category" ? byCategory(chosenColumn) : null;
    this.range = chosenColumn?.kind === "number" ? ends(chosenColumn.values) : null;
    this.repaint();
    this.emit("colour");
  }

  /** Takes the colours of all points anew, and parts those behind from those in front. */
  repaint() {
    const paper = rgb(theme() === "dark" ? "#15171a" : "#ffffff");
    this.paper = pixel(paper);
    const hits = this.hits && new Set(this.hits);
    const colours = this.palette();
    const full = colours.map(pixel);
    const dim = colours.map((colour) => pixel(mixed(colour, paper, 0.86)));
    const front = [];
    const back = [];
    for (let i = 0; i < this.n; i += 1) {
      const group = this.groupOf(i);
      if (this.hidden.has(group)) this.ink[i] = 0;
      else if (hits && !hits.has(i)) {
        this.ink[i] = dim[group];
        back.push(i);
      } else {
        this.ink[i] = full[group];
        front.push(i);
      }
    }
    this.passes = [Uint32Array.from(back), Uint32Array.from(front)];
    this.emit("paint");
  }

  /** The colours of groups, or of 64 steps of a ramp and of what has no value, or one for all. */
  palette() {
    if (this.grouped) return this.grouped.groups.map(groupColour);
    if (this.range) return [...Array.from({ length: 64 }, (_, i) => ramp(i / 63)), rgb(NONE[theme()])];
    return [rgb(INKS[theme()][0])];
  }

  groupOf(point) {
    if (this.grouped) return this.grouped.of[point];
    if (!this.range) return 0;
    const [low, high] = this.range;
    const value = this.column.values[point];
    if (!Number.isFinite(value)) return 64;
    return high > low ? Math.round((63 * (value - low)) / (high - low)) : 32;
  }

  hide(group, whether) {
    if (whether) this.hidden.add(group);
    else this.hidden.delete(group);
    this.repaint();
  }

  /** Points that stand out, or null for all alike. */
  find(points) {
    this.hits = points;
    this.repaint();
  }

  choose(point) {
    this.chosen = point;
    this.near = [];
    this.emit("choose");
    this.emit("paint");
  }
}
