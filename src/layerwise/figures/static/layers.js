// The slider: which layer is shown, and the animation from one to the next.
const WAY = 300; // milliseconds from layer to layer
const STAY = 800; // and on each, while it plays

class LayerSlider {
  constructor(scene, onmove) {
    this.scene = scene;
    this.onmove = onmove;
    this.last = scene.layers.length - 1;
    const keys = (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 1, PageDown: -1 }[
        event.key
      ];
      const to = { Home: 0, End: this.last }[event.key] ?? (step ? this.scene.layer + step : null);
      if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.go(to);
    };
    this.input = el("input", {
      type: "range",
      id: "layer",
      min: 0,
      max: Math.max(this.last, 0),
      step: 0.01,
      value: scene.at,
      "aria-label": t("layer"),
      disabled: this.last < 1,
      onkeydown: keys,
      oninput: () => this.drag(),
      onchange: () => this.go(Math.round(this.input.value)),
    });
    this.name = el("output", { id: "layer-name", for: "layer" });
    this.button = el(
      "button",
      { type: "button", id: "play", disabled: this.last < 1, onclick: () => this.play(!this.timer) },
      t("play"),
    );
    const named = namedPlaces(scene.layers);
    const every = Math.ceil(named.length / 14);
    const ticks = named
      .filter((i, n) => n % every === 0 || i === this.last)
      .map((i) => {
        const tick = el("span", { class: "tick" }, shown(scene.layers[i]));
        tick.style.left = `${this.last ? (100 * i) / this.last : 50}%`;
        return tick;
      });
    this.box = el(
      "div",
      { class: "slider" },
      this.button,
      el("div", { class: "track" }, this.input, el("div", { class: "ticks", "aria-hidden": "true" }, ticks)),
      this.name,
    );
    this.set(scene.at);
  }

  /** Shows a place between layers at once. */
  set(at) {
    const before = this.shown;
    this.scene.at = at;
    this.input.value = at;
    this.shown = this.scene.layer;
    const name = this.scene.layers[this.shown];
    this.name.textContent = name === undefined ? "–" : layerWord(name);
    this.input.setAttribute("aria-valuetext", this.name.textContent);
    this.onmove(at);
    if (this.shown !== before) this.scene.emit("layer");
  }

  drag() {
    cancelAnimationFrame(this.moving);
    this.play(false);
    this.set(Number(this.input.value));
  }

  /** Moves to a layer, over all in between. */
  go(to) {
    to = Math.max(0, Math.min(this.last, to));
    cancelAnimationFrame(this.moving);
    const from = this.scene.at;
    if (STILL.matches || from === to) return this.set(to);
    const begin = performance.now();
    const step = (now) => {
      const share = Math.max(0, Math.min(1, (now - begin) / WAY));
      this.set(share < 1 ? from + (to - from) * (share * share * (3 - 2 * share)) : to);
      if (share < 1) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
    return undefined;
  }

  play(whether) {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = t(whether ? "pause" : "play");
    if (!whether) return;
    const next = () => (this.scene.layer < this.last ? this.go(this.scene.layer + 1) : this.play(false));
    if (this.scene.layer === this.last) this.set(0);
    this.timer = setInterval(next, WAY + STAY);
  }
}
