// Where data comes from: from within the page, or from the server that the page came from. All ask here, and wait.
const TYPES = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};
const ONE_BYTE = 224; // letters that take one byte
const PAGE = 5000; // points that are asked for at once

/** Base64 to bytes; the browser's own decoder where it has one. */
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

let pageBytes = null; // the bytes of the arrays of this page

/** The numbers of an array of this page, whose first bytes stand together, then the second ones, and so on. */
function planesOf({ at, shape }, size) {
  const count = shape.reduce((product, side) => product * side, 1);
  const bytes = new Uint8Array(count * size);
  for (let byte = 0; byte < size; byte += 1)
    for (let i = 0; i < count; i += 1) bytes[i * size + byte] = pageBytes[at + byte * count + i];
  return bytes;
}

/** `{dtype, shape, data}` or `{dtype, shape, at}` to a typed array that knows its shape; machines are little-endian. */
function arrayOf(entry) {
  if (!entry) return null;
  if (Array.isArray(entry)) return Object.assign(entry.flat(Infinity), { shape: [entry.length] });
  const Type = TYPES[entry.dtype];
  const bytes =
    entry.data === undefined ? planesOf(entry, Type.BYTES_PER_ELEMENT) : bytesOf(entry.data);
  const array = new Type(bytes.buffer, bytes.byteOffset, bytes.byteLength / Type.BYTES_PER_ELEMENT);
  array.shape = entry.shape;
  return array;
}

/** `{letters, lengths, codes}` to strings: letters by their place, the most frequent in one byte. */
function textsOf(entry) {
  if (!entry) return null;
  const letters = Array.from(arrayOf(entry.letters), (point) => String.fromCodePoint(point));
  const codes = arrayOf(entry.codes);
  let at = 0;
  const next = () => codes[at++];
  return Array.from(arrayOf(entry.lengths), (length) => {
    let text = "";
    for (let i = 0; i < length; i += 1) {
      let place = next();
      if (place === 255) place = (next() << 16) | (next() << 8) | next();
      else if (place >= ONE_BYTE) place = ONE_BYTE + (((place - ONE_BYTE) << 8) | next());
      text += letters[place];
    }
    return text;
  });
}

async function payload() {
  const packed = bytesOf($("data").textContent.trim());
  $("data").textContent = "";
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const start = 4 + new DataView(buffer).getUint32(0, true);
  pageBytes = new Uint8Array(buffer, start);
  return JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
}

/** Fixed-point coordinates to -1 … 1. */
function placed(fixed, into, start = 0) {
  for (let i = 0; i < fixed.length; i += 1) into[2 * start + i] = fixed[i] / 32767;
  return into;
}

/** What a head has in common wherever it is from: typed arrays in place of what stood for them. */
function opened(head) {
  const points = head.points;
  if (points) {
    points.row = arrayOf(points.row);
    points.doc = arrayOf(points.doc);
    points.unknown = arrayOf(points.unknown);
    for (const column of points.columns ?? []) {
      if (column.kind === "number") column.values = arrayOf(column.values);
      else column.codes = arrayOf(column.codes);
    }
    const explained = points.explained;
    if (explained && !Array.isArray(explained)) {
      const flat = arrayOf(explained);
      points.explained = Array.from({ length: explained.shape[0] }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
    }
  }
  for (const [mix, form] of Object.entries(head.probe?.short_mixes ?? {})) shortMixes.set(mix, form);
  for (const text of head.tokens ?? []) {
    for (const name of ["norms", "moves", "cosines", "coords", "attention"]) text[name] = arrayOf(text[name]);
  }
  return head;
}

class Embedded {
  constructor(data) {
    this.data = data;
    this.cache = new Map();
  }

  async head() {
    const data = opened(this.data);
    const points = data.points;
    if (points) {
      points.texts = textsOf(points.texts);
      this.fixed = arrayOf(points.coords);
      this.span = arrayOf(points.span);
      this.clipped = new Set(points.clipped ?? []);
      const whole = textsOf(points.context?.texts);
      this.around = new Map(whole && Array.from(arrayOf(points.context.docs), (doc, i) => [doc, whole[i]]));
      const near = points.neighbours;
      this.near = near ? { k: near.k, points: arrayOf(near.points), cosines: arrayOf(near.cosines) } : null;
    }
    return data;
  }

  /** Where points stand in a layer: x, y, x, y, … in -1 … 1. */
  async coords(layer) {
    const wide = 2 * this.data.points.count;
    if (!this.cache.has(layer)) {
      this.cache.set(
        layer,
        placed(this.fixed.subarray(layer * wide, (layer + 1) * wide), new Float32Array(wide)),
      );
    }
    return this.cache.get(layer);
  }

  /** What a point says, and in which text around it. */
  async text(point) {
    const { texts, doc } = this.data.points;
    const fields = {
      point,
      row: this.data.points.row[point],
      text: texts ? texts[point] : null,
      clipped: this.clipped.has(point),
      unknown: this.data.about?.level === "text" ? 0 : (this.data.points.unknown?.[point] ?? 0),
    };
    const context = this.span ? this.around.get(doc[point]) : undefined;
    if (context !== undefined)
      Object.assign(fields, { context, start: this.span[2 * point], end: this.span[2 * point + 1] });
    return fields;
  }

  /** The nearest of the points shown, nearest first; null where they aren't known. */
  async neighbours(point, layer) {
    if (!this.near) return null;
    const { k, points, cosines } = this.near;
    const from = (layer * this.data.points.count + point) * k;
    const nearest = Array.from({ length: k }, (_, i) => ({
      at: points[from + i],
      cosine: cosines[from + i] / 127,
    }));
    return Promise.all(nearest.map(async ({ at, cosine }) => ({ ...(await this.text(at)), cosine })));
  }

  /** Points whose text contains a string, in any case; `hits` are the first of them with their texts. */
  async search(query) {
    const texts = this.data.points.texts ?? [];
    this.lower ??= texts.map((text) => text.toLowerCase());
    const lowered = query.toLowerCase();
    const points = [];
    this.lower.forEach((text, i) => text.includes(lowered) && points.push(i));
    return {
      points,
      total: points.length,
      hits: await Promise.all(points.slice(0, 30).map((i) => this.text(i))),
    };
  }

  /** Mean share of a point's neighbours that two layers have in common; null where they aren't known. */
  async shared(first, second) {
    if (!this.near || !this.near.k) return null;
    const { k, points } = this.near;
    const total = this.data.points.count * k;
    const [a, b] = [first, second].map((layer) => points.subarray(layer * total, (layer + 1) * total));
    let common = 0;
    for (let from = 0; from < total; from += k) {
      for (let i = from; i < from + k; i += 1)
        for (let j = from; j < from + k; j += 1) common += a[i] === b[j];
    }
    return common / total;
  }
}

class Remote {
  constructor() {
    this.cache = new Map();
    this.texts = new Map();
    this.onpart = () => {};
  }

  async ask(what, query = {}) {
    const reply = await fetch(`api/${what}?${new URLSearchParams(query)}`);
    if (!reply.ok) throw new Error(await reply.text());
    return reply.json();
  }

  async head() {
    this.data = opened(await this.ask("head"));
    return this.data;
  }

  /** As within the page, but it fills as parts arrive: points that aren't there yet are NaN. */
  coords(layer) {
    if (!this.cache.has(layer)) {
      const all = new Float32Array(2 * this.data.points.count).fill(NaN);
      this.cache.set(layer, Promise.resolve(all));
      this.fetched(layer, all).catch(report);
    }
    return this.cache.get(layer);
  }

  async fetched(layer, all) {
    for (let start = 0; start < this.data.points.count; start += PAGE) {
      const request = {
        layer: this.data.about.layers[layer],
        start,
        count: Math.min(PAGE, this.data.points.count - start),
      };
      placed(arrayOf(await this.ask("coords", request)), all, start);
      this.onpart();
    }
  }

  async text(point) {
    const row = this.data.points.row[point];
    if (!this.texts.has(row)) this.texts.set(row, this.ask("text", { rows: row }));
    const [fields] = await this.texts.get(row);
    return { point, ...fields };
  }

  neighbours(point, layer) {
    return this.ask("neighbours", {
      row: this.data.points.row[point],
      layer: this.data.about.layers[layer],
      k: 10,
    });
  }

  async search(query) {
    const { points, rows, total } = await this.ask("search", { q: query });
    const some = rows.slice(0, 30);
    const texts = some.length ? await this.ask("text", { rows: some.join(",") }) : [];
    const at = new Map(Array.from(points, (point) => [this.data.points.row[point], point]));
    return { points, total, hits: texts.map((text) => ({ ...text, point: at.get(text.row) ?? null })) };
  }

  async shared() {
    return null;
  }
}
