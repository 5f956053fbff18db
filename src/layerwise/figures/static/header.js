// What this is, on top; what it was made with, at the end.
function showHeader(head) {
  const about = head.about ?? {};
  document.title = `${shown(head.title ?? "layerwise")} · layerwise`;
  const model = about.model ?? {};
  const name = shown(model.id ?? t("model.unknown"));
  const layers = about.layers ?? [];
  const rows = t(`rows.${about.level ?? "text"}`, { n: count(about.rows) });
  const facts = [
    [
      t("fact.model"),
      [name, model.revision && `@ ${short(model.revision, 12)}`, model.family && `(${shown(model.family)})`]
        .filter(Boolean)
        .join(" "),
      [
        about.blocks && t("blocks", { n: about.blocks }),
        about.width && t("width", { n: count(about.width) }),
      ],
    ],
    [t("fact.layers"), t("layers.n", { n: layers.length }), [short(layers.join(" · "), 90)]],
    [
      t("fact.rows"),
      rows,
      [known(`level.${about.level}`, about.level), about.pool && t("pooled", { pool: about.pool })],
    ],
    [
      t("fact.corpus"),
      t("texts.n", { n: count(about.texts) }),
      [
        about.source && short([].concat(about.source).join(", "), 90),
        isNumber(about.tokens) && t("tokens.n", { n: count(about.tokens) }),
      ],
    ],
    [
      t("fact.coverage"),
      coverage(about),
      [
        isNumber(about.windows) && t("windows.n", { n: count(about.windows) }),
        about.skipped ? t("skipped.n", { n: count(about.skipped) }) : null,
      ],
    ],
    [
      t("fact.cost"),
      isNumber(about.bytes) ? t("bytes.rest", { size: size(about.bytes) }) : t("bytes.none"),
      [
        [about.dtype, about.precision && t("computed", { precision: about.precision })]
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
        said(value, "span", 200),
        more.filter(Boolean).map((one) => el("small", { class: "said", dir: "auto" }, shown(one))),
      ),
    ),
  );
  $("head").replaceChildren(
    el("h1", {}, said(head.title ?? "layerwise", "bdi", 120)),
    el("dl", { class: "facts" }, list),
    advice(head.probe),
  );
}

function coverage(about) {
  if (!isNumber(about.truncated)) return "–";
  const lost = about.lost_words ? t("lost.n", { n: count(about.lost_words) }) : t("lost.none");
  return `${about.truncated ? t("truncated.n", { n: count(about.truncated) }) : t("truncated.none")}${t("comma")}${lost}`;
}

/** What the advised candidate costs of a forward. */
function forward(probe) {
  const best = probe?.candidates?.find((one) => one.mix === probe.advice?.best);
  return isNumber(best?.cost) ? t("forward", { mix: shortMix(best.mix), share: percent(best.cost) }) : null;
}

/** The advice: one sentence, and the rest behind a click. */
function advice(probe) {
  if (!probe?.advice) return el("p", { class: "advice none" }, t("advice.none"));
  const { best, cheapest, differs, text } = probe.advice;
  // A sentence ends where a capital or a bracket follows: "mean(1:)" and "0.912" don't end one.
  const [, first, rest] = /^(.*?[.;!?])\s+(?=[A-Z(])(.*)$/s.exec(text ?? "") ?? [null, text ?? "", ""];
  const own = LOCALE.startsWith("zh");
  const sentence = own
    ? t(differs ? "advice.differs" : "advice.same", { best: shortMix(best), cheapest: shortMix(cheapest) })
    : shown(first);
  const more = own ? text : rest;
  return el(
    "div",
    { class: "advice" },
    el("p", {}, sentence),
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
  const made = head.about?.made ?? head.about?.finished;
  const parts = [
    made && t("foot.made", { when: shown(made) }),
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
            notes.map((one) => el("li", { class: "said", dir: "auto" }, shown(one))),
          ),
        )
      : "",
  );
}
