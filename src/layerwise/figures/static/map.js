// Points on a canvas. They are written into pixels by hand: with fifty thousand of them a canvas's own circles take
// too long where there is no GPU.
const REACH = 10; // pixels around the pointer in which a point is found

/** A disc as offsets into pixels: those that it covers, and those that its edge half covers. */
function stamp(radius, stride) {
  const [inner, edge] = [[], []];
  const reach = Math.ceil(radius);
  for (let y = -reach; y <= reach; y += 1) {
    for (let x = -reach; x <= reach; x += 1) {
      const out = Math.hypot(x, y) - radius;
      if (out <= -0.35) inner.push(y * stride + x);
      else if (out < 0.45) edge.push(y * stride + x);
    }
  }
  return { inner: Int32Array.from(inner), edge: Int32Array.from(edge) };
}

class PointMap {
  constructor(scene, label, act = {}) {
    this.scene = scene;
    this.act = act; // hover(point, event), pick(point), box(points)
    this.at = 0;
    this.coords = [];
    this.view = { zoom: 1, x: 0, y: 0 };
    this.where = new Float32Array(2 * scene.n);
    this.touching = new Map();
    this.canvas = el("canvas", { class: "map", tabindex: 0, role: "img", "aria-label": label });
    this.pen = this.canvas.getContext("2d", { alpha: false });
    this.listen();
    scene.on("paint", () => this.invalidate());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  /** Shows a layer, or a place between two; what isn't loaded yet is drawn when it is. */
  go(at) {
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

  resize() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [this.canvas.clientWidth, this.canvas.clientHeight].map((side) =>
      Math.round(side * ratio),
    );
    if (!wide || !high || (wide === this.canvas.width && high === this.canvas.height && this.pixels)) return;
    const n = this.scene.n;
    this.ratio = ratio;
    this.radius = ratio * (n > 20000 ? 1.4 : n > 5000 ? 2 : n > 1000 ? 2.7 : n > 200 ? 3.6 : 5);
    this.pad = Math.ceil(this.radius) + 1; // so that a disc at the border needs no test
    [this.canvas.width, this.canvas.height] = [wide, high];
    this.stride = wide + 2 * this.pad;
    this.image = new ImageData(this.stride, high + 2 * this.pad);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.stamp = stamp(this.radius, this.stride);
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
    for (const pass of this.scene.passes) this.drawPoints(pass, a, b);
    this.pen.putImageData(this.image, -this.pad, -this.pad);
    this.drawMarks();
    this.grid = null;
    frames.push(performance.now() - begin);
    if (frames.length > 2000) frames.splice(0, 1000);
  }

  drawPoints(list, a, b) {
    const {
      where,
      pixels,
      stride,
      pad,
      scene: { ink },
      stamp: { inner, edge },
    } = this;
    const { width, height } = this.canvas;
    const share = this.at - Math.floor(this.at);
    const scale = this.scale();
    const [left, top] = [width / 2 + this.view.x * this.ratio, height / 2 + this.view.y * this.ratio];
    for (let k = 0; k < list.length; k += 1) {
      const i = list[k];
      const x = left + (a[2 * i] + (b[2 * i] - a[2 * i]) * share) * scale;
      const y = top - (a[2 * i + 1] + (b[2 * i + 1] - a[2 * i + 1]) * share) * scale;
      where[2 * i] = x;
      where[2 * i + 1] = y;
      if (!(x >= 0 && y >= 0 && x < width && y < height)) continue; // NaN too: not there yet
      const base = ((y | 0) + pad) * stride + (x | 0) + pad;
      const colour = ink[i];
      const half = (colour & 0xfefefefe) >>> 1;
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
    const colour = theme() === "dark" ? "#fff" : "#000";
    const ring = (point, size, dashes = []) => {
      if (point === null || point === undefined || !scene.ink[point]) return;
      pen.setLineDash(dashes);
      pen.beginPath();
      pen.arc(this.where[2 * point], this.where[2 * point + 1], this.radius + size * this.ratio, 0, 7);
      pen.stroke();
    };
    pen.strokeStyle = colour;
    pen.lineWidth = 1.2 * this.ratio;
    for (const point of scene.near) ring(point, 2.5, [2 * this.ratio, 2 * this.ratio]);
    ring(this.hovered, 2.5);
    pen.lineWidth = 2.4 * this.ratio;
    ring(scene.chosen, 4.5);
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
    this.view = { zoom: 1, x: 0, y: 0 };
    this.invalidate();
  }

  /** Zooms by a factor, so that what is at (x, y) stays there. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
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
      // At the outermost zoom a wheel that would zoom out scrolls the page.
      if (event.deltaY > 0 && this.view.zoom <= 0.8) return;
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
    this.boxing = (event.shiftKey || this.rectangles) && this.touching.size === 1;
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
    tip.hide();
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
      for (const pass of this.scene.passes) {
        for (const i of pass) {
          const [dx, dy] = [this.where[2 * i] - x, this.where[2 * i + 1] - y];
          if (dx >= 0 && dy >= 0 && dx <= wide && dy <= high) inside.push(i);
        }
      }
      this.boxed = null;
      this.act.box?.(inside);
    } else if (!this.moved && event.type === "pointerup")
      this.act.pick?.(this.nearest(event.offsetX, event.offsetY));
    this.invalidate();
  }

  hover(point, event) {
    this.canvas.style.cursor = point === null ? "" : "pointer";
    if (point === null) tip.hide();
    if (point !== this.hovered) this.invalidate();
    this.hovered = point;
    if (point !== null) this.act.hover?.(point, event);
  }
}
