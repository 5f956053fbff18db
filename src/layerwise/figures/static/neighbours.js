// Neighbours of the chosen point at two layers: kept at both, lost or gained from the first to the second.

/** The stored layers of a mix of the probe, as positions. */
function layersOf(mix, layers, probe) {
  const candidate = probe.candidates?.find((entry) => entry.mix === mix);
  const names = candidate?.layers ?? /\(([^;)]*)/.exec(mix ?? "")?.[1].split(",") ?? [mix];
  return names.map((name) => layers.indexOf(String(name).trim())).filter((layer) => layer >= 0);
}

/**
 * The layers that stand side by side at first: the advised one and the last. Of a mix its deepest layer counts. Where
 * that is the last layer itself, the first of these takes its place: the cheapest advised mix, the single layer with
 * the highest score, the middle layer, which is also taken where there is no probe.
 */
function defaultPair(layers, probe) {
  const last = layers.length - 1;
  const singles = (probe?.candidates ?? []).filter(({ mix, score }) => layers.includes(mix) && isNumber(score));
  singles.sort((a, b) => b.score - a.score);
  const mixes = [probe?.advice?.best, probe?.advice?.cheapest, singles[0]?.mix];
  const deepest = mixes.filter(Boolean).map((mix) => Math.max(...layersOf(mix, layers, probe), -1));
  const advised = deepest.find((layer) => layer >= 0 && layer !== last);
  return [advised ?? Math.max(0, Math.floor(last / 2)), Math.max(0, last)];
}

/**
 * The layer that the map opens at: the advised one, of a mix its deepest. Without a probe, or where it recommends nothing,
 * the last.
 */
function firstLayer(layers, { advice, ...probe }) {
  const advised = advice?.best && advice.recommended !== false ? layersOf(advice.best, layers, probe) : [];
  return advised.length ? Math.max(...advised) : Math.max(0, layers.length - 1);
}

/** A layer to compare with another: the last, or the one beside it at first. */
const partnerOf = (layer, { pair: [first, last] }) => (layer === last ? first : last);

/** The nearest of a point at each of two layers, each with its `kind`: kept, lost or gained; null if unknown. */
async function nearestAt(scene, point, pair) {
  const sides = await Promise.all(pair.map((layer) => scene.source.neighbours(point, layer)));
  if (sides.some((side) => !side)) return null;
  const rows = sides.map((side) => new Set(side.map((entry) => entry.row)));
  const kind = (row, side) => (rows[1 - side].has(row) ? "kept" : side ? "gained" : "lost");
  return sides.map((entries, side) => entries.map((entry) => ({ ...entry, kind: kind(entry.row, side) })));
}

const isDrawn = (entry) => entry.point !== null && entry.point !== undefined;
/** The rings of a side: those of its neighbours that are on the map. */
const ringsOf = (side) => side.filter(isDrawn).map(({ point, kind }) => ({ point, kind }));

/** What rings mean and how many neighbours there are of each kind. */
function ringLegend(scene, pair, sides) {
  const [a, b] = pair.map((layer) => layerWord(scene.layers[layer]));
  const amount = (kind) => sides[kind === "gained" ? 1 : 0].filter((entry) => entry.kind === kind).length;
  const keys = ["kept", "lost", "gained"].map((kind) =>
    el(
      "span",
      { "data-kind": kind },
      markIcon(null, kind),
      t(`near.${kind}`, { n: amount(kind), of: sides[0].length, a, b }),
    ),
  );
  return el("div", { class: "keys rings" }, keys);
}

/** The nearest at a layer, each with the ring that it has on the map. */
function nearestList(scene, side) {
  const entry = (hit) =>
    el(
      "li",
      { class: hit.kind, "data-kind": hit.kind },
      pointButton(
        scene,
        hit,
        el(
          "span",
          {},
          el("span", { class: "cosine", title: t("cosine") }, cosineWord(hit.cosine)),
          " ",
          textOf(hit, 90),
        ),
      ),
    );
  return el("ol", { class: "nearest" }, side.map(entry));
}

/** Both lists of neighbours, and what their rings mean. */
function neighbourLists(scene, pair, sides) {
  const absent = sides.flat().filter((hit) => !isDrawn(hit)).length;
  return [
    ringLegend(scene, pair, sides),
    absent ? note(t("near.absent", { n: absent })) : "",
    el(
      "div",
      { class: "beside" },
      pair.map((layer, side) =>
        el(
          "div",
          {},
          el("h4", {}, layerWord(scene.layers[layer])),
          nearestList(scene, sides[side]),
        ),
      ),
    ),
  ];
}
