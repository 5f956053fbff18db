// Points on a canvas. Their marks are written into pixels by hand: with fifty thousand of them a canvas's own circles take
// too long where there is no GPU.
const REACH = 10; // pixels around the pointer in which a point is found

class PointMap {
  constructor(scene, label, act = {}) {
    this.scene = scene;
    this.act = act; // hover(point or null, event), pick(point), box(points)
    this.at = 0;
    this.coords = [];
    this.view = { zoom: 1, x: 0, y: 0 };
    this.where = new Float32Array(2 * scene.n);
    this.rings = []; // {point, kind} of neighbours
    this.ringed = []; // those that were drawn last, with the place of each
    this.touching = new Map();
    this.canvas = el("canvas", { class: "map", tabindex: 0, role: "img", "aria-label": label });
    this.pen = this.canvas.getContext("2d", { alpha: false });
    this.listen();
    scene.on("paint", () => this.invalidate());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  /** Shows a layer, or a place between two; what isn't loaded yet is drawn when it is. */
  go(at) {
    if (at !== this.at) this.hover(null); // the points move away from under the pointer
    this.at = at;
    for (const layer of new Set([Math.floor(at), Math.ceil(at)])) {
      if (!this.coords[layer]) {
        this.scene.source.coords(layer).then((coords) => {
          this.coords[layer] = coords;
          this.invalidate();
        }, report);
      }
    }
    this.invalidate();
  }

  /** Rings points: {point, kind}. */
  ring(rings) {
    this.rings = rings;
    this.invalidate();
  }

  resize() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [this.canvas.clientWidth, this.canvas.clientHeight].map((side) =>
      Math.round(side * ratio),
    );
    if (!wide || !high || (wide === this.canvas.width && high === this.canvas.height && this.pixels)) return;
    const n = this.scene.n;
    this.ratio = ratio;
    this.base = ratio * (n > 20000 ? 1.4 : n > 5000 ? 2 : n > 1000 ? 2.7 : n > 200 ? 3.6 : 5);
    this.pad = Math.ceil(10 * ratio); // so that a mark at the border needs no test
    this.radius = null;
    [this.canvas.width, this.canvas.height] = [wide, high];
    this.stride = wide + 2 * this.pad;
    this.image = new ImageData(this.stride, high + 2 * this.pad);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.draw();
  }

  invalidate() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  draw() {
    const [a, b] = [this.coords[Math.floor(this.at)], this.coords[Math.ceil(this.at)]];
    if (!a || !b || !this.pixels) return;
    const begin = performance.now();
    this.pixels.fill(this.scene.paper);
    this.locate(a, b);
    this.fit();
    for (const pass of this.scene.passes) this.drawPoints(pass);
    this.pen.putImageData(this.image, -this.pad, -this.pad);
    this.drawMarks();
    this.grid = null;
    frames.push(performance.now() - begin);
    if (frames.length > 2000) frames.splice(0, 1000);
  }

  /** Finds the place of every point, of hidden ones too. */
  locate(a, b) {
    const { where } = this;
    const share = this.at - Math.floor(this.at);
    const scale = this.scale();
    const [left, top] = [
      this.canvas.width / 2 + this.view.x * this.ratio,
      this.canvas.height / 2 + this.view.y * this.ratio,
    ];
    for (let i = 0; i < where.length; i += 2) {
      where[i] = left + (a[i] + (b[i] - a[i]) * share) * scale;
      where[i + 1] = top - (a[i + 1] + (b[i + 1] - a[i + 1]) * share) * scale;
    }
  }

  /** Takes the size of marks: they grow with the zoom, until their shapes can be told apart. */
  fit() {
    const most = Math.max(this.base, 5 * this.ratio);
    const radius = Math.max(this.base, Math.min(most, this.base * this.view.zoom ** 0.4));
    if (radius === this.radius) return;
    this.radius = radius;
    this.stamps = new Map();
  }

  stampOf({ shape, size }) {
    const key = `${shape} ${size}`;
    if (!this.stamps.has(key)) this.stamps.set(key, stamp(shape, this.radius * size, this.stride));
    return this.stamps.get(key);
  }

  drawPoints(list) {
    const { where, pixels, stride, pad, scene } = this;
    const { ink, of } = scene;
    const stamps = scene.marks.map((mark) => this.stampOf(mark));
    const { width, height } = this.canvas;
    for (let k = 0; k < list.length; k += 1) {
      const i = list[k];
      const x = where[2 * i];
      const y = where[2 * i + 1];
      if (!(x >= 0 && y >= 0 && x < width && y < height)) continue; // NaN too: not there yet
      const base = ((y | 0) + pad) * stride + (x | 0) + pad;
      const colour = ink[i];
      const half = (colour & 0xfefefefe) >>> 1;
      const { inner, edge } = stamps[of[i]];
      for (let j = 0; j < inner.length; j += 1) pixels[base + inner[j]] = colour;
      for (let j = 0; j < edge.length; j += 1) {
        const at = base + edge[j];
        pixels[at] = (((pixels[at] & 0xfefefefe) >>> 1) + half) | 0xff000000;
      }
    }
  }

  scale() {
    return 0.47 * Math.min(this.canvas.width, this.canvas.height) * this.view.zoom;
  }

  drawMarks() {
    const { pen, scene } = this;
    const [ink, paper] = theme() === "dark" ? ["#fff", "#15171a"] : ["#000", "#fff"];
    this.ringed = [];
    const ring = (point, kind, size, width) => {
      if (point === null || point === undefined || !scene.ink[point]) return;
      const [x, y] = [this.where[2 * point], this.where[2 * point + 1]];
      this.ringed.push({ point, kind, x: x / this.ratio, y: y / this.ratio });
      const path = ringPath(kind, x, y, this.radius + size * this.ratio);
      // On paper of its own: a ring can be seen over points of any colour.
      for (const [colour, wide] of [[paper, width + 2.4], [ink, width]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = wide * this.ratio;
        pen.stroke(path);
      }
    };
    for (const { point, kind } of this.rings) ring(point, kind, 3, 1.4);
    ring(this.hovered, "hovered", 2.5, 1.2);
    ring(scene.chosen, "chosen", 5, 2.6);
    pen.strokeStyle = ink;
    pen.setLineDash([4 * this.ratio, 3 * this.ratio]);
    pen.lineWidth = this.ratio;
    if (this.boxed) pen.strokeRect(...this.boxed.map((value) => value * this.ratio));
    pen.setLineDash([]);
  }

  /** The point nearest to a place on the canvas (in CSS pixels), or null; by a grid that is made when first asked. */
  nearest(x, y) {
    const cell = REACH * this.ratio;
    this.grid ??= this.gridded(cell);
    const [px, py] = [x * this.ratio, y * this.ratio];
    const [column, row] = [Math.floor(px / cell), Math.floor(py / cell)];
    let [best, least] = [null, cell * cell];
    for (let r = row - 1; r <= row + 1; r += 1) {
      for (let c = column - 1; c <= column + 1; c += 1) {
        if (c < 0 || r < 0 || c >= this.grid.wide) continue;
        for (let i = this.grid.first[r * this.grid.wide + c] ?? -1; i >= 0; i = this.grid.next[i]) {
          const far = (this.where[2 * i] - px) ** 2 + (this.where[2 * i + 1] - py) ** 2;
          if (far < least) [best, least] = [i, far];
        }
      }
    }
    return best;
  }

  gridded(cell) {
    const wide = Math.ceil(this.canvas.width / cell);
    const first = new Int32Array(wide * Math.ceil(this.canvas.height / cell)).fill(-1);
    const next = new Int32Array(this.scene.n);
    for (const pass of this.scene.passes) {
      for (const i of pass) {
        const [x, y] = [this.where[2 * i], this.where[2 * i + 1]];
        if (!(x >= 0 && y >= 0 && x < this.canvas.width && y < this.canvas.height)) continue;
        const at = Math.floor(y / cell) * wide + Math.floor(x / cell);
        next[i] = first[at];
        first[at] = i;
      }
    }
    return { wide, first, next };
  }

  reset() {
    this.hover(null);
    this.view = { zoom: 1, x: 0, y: 0 };
    this.invalidate();
  }

  /** Zooms by a factor, so that what is at (x, y) stays there. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    this.hover(null);
    const zoom = Math.max(0.8, Math.min(60, this.view.zoom * factor));
    const grown = zoom / this.view.zoom;
    const [dx, dy] = [x - this.canvas.clientWidth / 2, y - this.canvas.clientHeight / 2];
    this.view = { zoom, x: dx - (dx - this.view.x) * grown, y: dy - (dy - this.view.y) * grown };
    this.invalidate();
  }

  listen() {
    const { canvas } = this;
    const on = (name, act) => canvas.addEventListener(name, act, { passive: false });
    on("wheel", (event) => {
      // A wheel alone scrolls the page; browsers tell of a pinch on a touchpad as of a wheel with ctrl.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
    });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event));
    on("pointerleave", () => this.hover(null));
    on("keydown", (event) => {
      if (event.key === "+" || event.key === "=") this.zoom(1.3);
      else if (event.key === "-") this.zoom(1 / 1.3);
      else if (event.key === "0") this.reset();
    });
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.touching.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.from = [event.offsetX, event.offsetY];
    this.moved = false;
    this.boxing = this.act.box && (event.shiftKey || this.rectangles) && this.touching.size === 1;
  }

  move(event) {
    const here = [event.offsetX, event.offsetY];
    const before = this.touching.get(event.pointerId);
    if (!before) return this.hover(this.nearest(...here), event);
    if (Math.hypot(here[0] - this.from[0], here[1] - this.from[1]) > 4) this.moved = true;
    if (this.touching.size === 2) this.pinch(event.pointerId, before, here);
    else if (this.boxing) {
      this.boxed = [
        Math.min(this.from[0], here[0]),
        Math.min(this.from[1], here[1]),
        Math.abs(here[0] - this.from[0]),
        Math.abs(here[1] - this.from[1]),
      ];
    } else if (this.moved) {
      this.view.x += here[0] - before[0];
      this.view.y += here[1] - before[1];
    }
    this.touching.set(event.pointerId, here);
    this.hover(null);
    return this.invalidate();
  }

  pinch(id, before, here) {
    const [other] = [...this.touching].filter(([key]) => key !== id).map(([, place]) => place);
    const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    this.zoom(apart(here) / apart(before), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  }

  up(event) {
    if (!this.touching.delete(event.pointerId)) return;
    if (this.boxed) {
      const [x, y, wide, high] = this.boxed.map((value) => value * this.ratio);
      const inside = [];
      for (let i = 0; i < this.scene.n; i += 1) {
        const [dx, dy] = [this.where[2 * i] - x, this.where[2 * i + 1] - y];
        if (dx >= 0 && dy >= 0 && dx <= wide && dy <= high) inside.push(i);
      }
      this.boxed = null;
      this.act.box?.(inside);
    } else if (!this.moved && event.type === "pointerup")
      this.act.pick?.(this.nearest(event.offsetX, event.offsetY));
    this.invalidate();
  }

  hover(point, event) {
    this.canvas.style.cursor = point === null ? "" : "pointer";
    if (point === (this.hovered ?? null) && point === null) return;
    if (point === null) tip.hide();
    if (point !== this.hovered) this.invalidate();
    this.hovered = point;
    this.act.hover?.(point, event);
  }
}
