// What this is, on top; what it was made with, at the end.
function showHeader(head) {
  const dataset = head.about ?? {};
  document.title = `${shown(head.title ?? "layerwise")} · layerwise`;
  const model = dataset.model ?? {};
  const name = shown(model.id ?? t("model.unknown"));
  const layers = dataset.layers ?? [];
  const rows = t(`rows.${dataset.level ?? "text"}`, { n: count(dataset.rows) });
  const facts = [
    [
      t("fact.model"),
      [name, model.revision && `@ ${short(model.revision, 12)}`, model.family && `(${shown(model.family)})`]
        .filter(Boolean)
        .join(" "),
      [
        dataset.blocks && t("blocks", { n: dataset.blocks }),
        dataset.width && t("width", { n: count(dataset.width) }),
      ],
    ],
    [t("fact.layers"), t("layers.n", { n: layers.length }), [short(layers.join(" · "), 90)]],
    [
      t("fact.rows"),
      rows,
      [wordsOr(`level.${dataset.level}`, dataset.level), dataset.pool && t("pooled", { pool: dataset.pool })],
    ],
    [
      t("fact.corpus"),
      t("texts.n", { n: count(dataset.texts) }),
      [
        dataset.source && short([].concat(dataset.source).join(", "), 90),
        isNumber(dataset.tokens) && t("tokens.n", { n: count(dataset.tokens) }),
      ],
    ],
    [
      t("fact.coverage"),
      coverage(dataset),
      [
        isNumber(dataset.windows) && t("windows.n", { n: count(dataset.windows) }),
        dataset.skipped ? t("skipped.n", { n: count(dataset.skipped) }) : null,
      ],
    ],
    [
      t("fact.cost"),
      isNumber(dataset.bytes) ? t("bytes.rest", { size: size(dataset.bytes) }) : t("bytes.none"),
      [
        [dataset.dtype, dataset.precision && t("computed", { precision: dataset.precision })]
          .filter(Boolean)
          .join(", "),
        forward(head.probe),
      ],
    ],
  ];
  const list = facts.map(([term, value, more]) =>
    el(
      "div",
      { class: "fact" },
      el("dt", {}, term),
      el(
        "dd",
        {},
        userText(value, "span", 200),
        more.filter(Boolean).map((text) => el("small", { class: "said", dir: "auto" }, shown(text))),
      ),
    ),
  );
  $("head").replaceChildren(
    el("h1", {}, userText(head.title ?? "layerwise", "bdi", 120)),
    el("dl", { class: "facts" }, list),
    advice(head.probe),
  );
}

function coverage(dataset) {
  if (!isNumber(dataset.truncated)) return "–";
  const lost = dataset.lost_words ? t("lost.n", { n: count(dataset.lost_words) }) : t("lost.none");
  return `${dataset.truncated ? t("truncated.n", { n: count(dataset.truncated) }) : t("truncated.none")}${t("comma")}${lost}`;
}

/** What the advised candidate costs of a forward. */
function forward(probe) {
  const best = probe?.candidates?.find((candidate) => candidate.mix === probe.advice?.best);
  return isNumber(best?.cost) ? t("forward", { mix: shortMix(best.mix), share: percent(best.cost) }) : null;
}

/** The advice: one sentence, and the rest behind a click. */
function advice(probe) {
  if (!probe?.advice) return el("p", { class: "advice none" }, t("advice.none"));
  // A stored result of another version may hold the advice only as one text.
  const [first, ...rest] = [].concat(probe.advice.messages?.text ?? probe.advice.text ?? "");
  const more = rest.join(t("sentences"));
  return el(
    "div",
    { class: "advice" },
    el("p", {}, shown(first)),
    more
      ? el(
          "details",
          {},
          el("summary", {}, t("advice.more")),
          el("p", { class: "said", dir: "auto" }, shown(more)),
        )
      : null,
  );
}

function showFooter(head) {
  const versions = { ...head.about?.versions, ...head.versions };
  const date = head.about?.made ?? head.about?.finished;
  const parts = [
    date && t("foot.made", { when: shown(date) }),
    Object.keys(versions).length &&
      t("foot.versions", {
        list: Object.entries(versions)
          .map(([name, version]) => `${shown(name)} ${shown(version)}`)
          .join(", "),
      }),
    head.about?.sha256 && t("foot.hash", { hash: shown(head.about.sha256) }),
    head.points && isNumber(head.points.seed) && t("foot.seed", { seed: head.points.seed }),
    t(head.points?.remote ? "foot.remote" : "foot.file"),
  ];
  const notes = [...(head.notes ?? []), ...(head.probe?.notes ?? []), ...(head.analysis?.notes ?? [])];
  $("foot").replaceChildren(
    ...parts.filter(Boolean).map((words) => el("p", { class: "said" }, words)),
    notes.length
      ? el(
          "div",
          {},
          el("h2", {}, t("notes")),
          el(
            "ul",
            {},
            notes.map((text) => el("li", { class: "said", dir: "auto" }, shown(text))),
          ),
        )
      : "",
  );
}
