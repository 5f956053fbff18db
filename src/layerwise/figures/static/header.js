// What this is, on top; what it was made with, at the end.
function showHeader(head) {
  const dataset = head.about ?? {};
  document.title = `${shown(head.title ?? "layerwise")} · layerwise`;
  const model = dataset.model ?? {};
  const name = shown(model.id ?? t("model.unknown"));
  const layers = dataset.layers ?? [];
  const lost = coverage(dataset);
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
        model.not_applied?.length && t("not.applied", { list: model.not_applied.map(shown).join(t("comma.list")) }),
      ],
    ],
    [t("fact.layers"), t("layers.n", { n: layers.length }), [short(layers.join(" · "), 90), layers.includes("emb") && t("layers.emb")]],
    [
      t("fact.rows"),
      rows,
      [wordsOr(`level.${dataset.level}`, dataset.level), dataset.pool && t("pooled", { pool: dataset.pool }), withoutSpecial(dataset)],
    ],
    [
      t("fact.corpus"),
      t("texts.n", { n: count(dataset.texts) }),
      [
        dataset.source && short([].concat(dataset.source).join(t("comma.list")), 90),
        isNumber(dataset.tokens) && t("tokens.n", { n: count(dataset.tokens) }),
        dataset.prompt && t("prompt.before", { prompt: short(dataset.prompt, 60) }),
        dataset.pair && t("pair.joint", { first: short(dataset.pair[0], 40), second: short(dataset.pair[1], 40) }),
        dataset.context && t("context.around", { before: count(dataset.context[0]), after: count(dataset.context[1]) }),
        dataset.cut_contexts ? t("context.cut.n", { n: count(dataset.cut_contexts) }) : null,
      ],
    ],
    [
      t("fact.coverage"),
      lost[0],
      [
        ...lost.slice(1),
        isNumber(dataset.windows) && t("windows.n", { n: count(dataset.windows) }),
        dataset.windowed ? t("windowed.n", { n: count(dataset.windowed) }) : null,
      ],
    ],
    [
      t("fact.cost"),
      isNumber(dataset.bytes) ? t("bytes.rest", { size: size(dataset.bytes) }) : t("bytes.none"),
      [
        [dataset.dtype, dataset.precision && t("computed", { precision: dataset.precision })]
          .filter(Boolean)
          .join(t("comma.clause")),
        ...forward(head.probe),
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
    ...cautions(dataset),
    advice(head.probe),
  );
}

/** Said where the mean, maximum or sum of a text has no special tokens, unlike the default. */
const withoutSpecial = ({ level, pool, special_tokens: special }) =>
  special === false && level === "text" && ["mean", "max", "sum"].includes(pool) ? t("special.none") : null;

// What of the texts a model didn't read, or not as it is written: the count, and its words.
const LOSSES = [
  ["truncated", "truncated.n"],
  ["lost_words", "lost.n"],
  ["dropped_words", "dropped.n"],
  ["special_only", "special_only.n"],
  ["skipped", "skipped.n"],
];
const TOO_MANY = 0.1; // share of tokens that is a caution

/** What wasn't read, each kind with its count; where nothing was lost, what was looked for. */
function coverage(dataset) {
  const losses = LOSSES.filter(([name]) => dataset[name] > 0).map(([name, words]) =>
    t(words, { n: count(dataset[name]) }),
  );
  if (dataset.unknown > 0) losses.unshift(unknownTokens(dataset));
  if (losses.length) return losses;
  const none = [
    ["truncated", "truncated.none"],
    ["lost_words", "lost.none"],
    ["unknown", "unknown.none"],
  ];
  const known = none.filter(([name]) => isNumber(dataset[name])).map(([, words]) => t(words));
  return [known.length ? known.join(t("comma")) : "–"];
}

const unknownTokens = ({ unknown, tokens }) =>
  t("unknown.n", { n: count(unknown), of: count(tokens), share: smallShare(unknown / tokens) });

/** A share in whole per cents, or that it is below one. */
const smallShare = (share) => (share > 0 && share < 0.01 ? t("below", { share: percent(0.01) }) : percent(share));

/** Cautions: so much wasn't read that what the page shows says little of the texts. */
function cautions(dataset) {
  const read = dataset.tokens;
  const words = [];
  if (dataset.unknown > TOO_MANY * read)
    words.push(
      t("caution.unknown", {
        share: smallShare(dataset.unknown / read),
        model: shown(dataset.model?.id ?? t("model.unknown")),
      }),
    );
  const cut = dataset.truncated_tokens / (read + dataset.truncated_tokens);
  if (cut > TOO_MANY) words.push(t("caution.truncated", { share: smallShare(cut) }));
  if (isNumber(dataset.model?.random)) words.push(t("caution.random", { seed: dataset.model.random }));
  return words.map((text) =>
    el("p", { class: "caution said", role: "note" }, el("strong", {}, t("caution")), CHINESE ? "" : " ", text),
  );
}

/** What the advised candidates cost of a forward pass: the best one, and the cheapest that comes close to it. */
function forward(probe) {
  const { best, cheapest, recommended } = probe?.advice ?? {};
  if (recommended === false) return [];
  return [...new Set([best, cheapest])].map((mix) => {
    const cost = probe?.candidates?.find((candidate) => candidate.mix === mix)?.cost;
    const words = mix === best ? "forward.best" : "forward.cheapest";
    return isNumber(cost) ? t(words, { mix: mixWord(mix), share: percent(cost) }) : null;
  });
}

const SENTENCES = 2; // of the advice that are shown at once: what beats the baselines, and what to take

/** The advice: its first sentences, and the rest behind a click. */
function advice(probe) {
  if (!probe?.advice) return el("p", { class: "advice none" }, t("advice.none"));
  // A stored result of another version may hold the advice only as one text.
  const sentences = [].concat(probe.advice.messages?.text ?? probe.advice.text ?? []);
  const rest = sentences.slice(SENTENCES).join(t("sentences"));
  return el(
    "div",
    { class: "advice" },
    el("p", { class: "said", dir: "auto" }, shown(sentences.slice(0, SENTENCES).join(t("sentences")))),
    rest
      ? el(
          "details",
          {},
          el("summary", {}, t("advice.more")),
          el("p", { class: "said", dir: "auto" }, shown(rest)),
        )
      : null,
    probe.transfer?.text ? el("p", { class: "said", dir: "auto" }, shown(probe.transfer.text)) : null,
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
          .join(t("comma.list")),
      }),
    head.about?.sha256 && t("foot.hash", { hash: shown(head.about.sha256) }),
    head.points && isNumber(head.points.seed) && t("foot.seed", { seed: head.points.seed }),
    t(head.points?.remote ? "foot.remote" : "foot.file"),
  ];
  const lists = [head.about?.notices, head.notes, head.probe?.notes, head.analysis?.notes];
  const notes = lists.flatMap((texts) => texts ?? []);
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
