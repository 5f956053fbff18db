"""The probe: score every layer and mix on the same folds, and test which differences are significant."""

from collections.abc import Sequence

from layerwise._util.progress import SILENT, Tracker
from layerwise.choices import whole_number
from layerwise.probing.candidates import candidates, time_of
from layerwise.probing.coarse import drop_hopeless
from layerwise.probing.duration import estimate
from layerwise.probing.power import power_note
from layerwise.probing.problem import gather
from layerwise.probing.results import ProbeResult
from layerwise.probing.run import CODES, FOLDS, ProbeRun, RandomModel
from layerwise.probing.summary import ResultBuilder, time_after, with_dropped
from layerwise.states import Layered

_REPEATS = 5


def probe(
    dataset: Layered,
    task: str,
    label: str,
    *,
    mixes: Sequence[str] | None = None,
    groups: str | None = None,
    split: str | None = None,
    label_separator: str | None = None,
    quick: bool = False,
    codelength: bool = True,
    seed: int = 0,
    max_rows: int = 20_000,
    random_models: Sequence[RandomModel] = (),
    track: Tracker = SILENT,
) -> ProbeResult:
    """Score every layer and mix of a dataset for a label, with intervals, tests, baselines and advice.

    Scores come from nested cross-validation, repeated with several seeds, or from the user's own split.

    Args:
        dataset: rows on disk or in memory; one layer of the used rows is in memory at a time, and for a mix
            all of its layers.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        mixes: mix strings besides the single layers; `candidates.DEFAULTS` if not given.
        groups: a column of the texts; texts with equal values are never split between training and test.
        split: a column of the texts with `train`, `dev` and `test`.
        label_separator: the text between the labels of a string with several labels.
        quick: 1 × 5 folds instead of 5 × 5, and one online code instead of three.
        codelength: whether to measure the length of online codes.
        seed: seed of folds, orders, samples and resamples.
        max_rows: about the largest number of rows to use; whole texts are sampled.
        random_models: models with random weights, on which the best candidate is scored as a baseline.
        track: progress over candidates, folds and Cs, and the steps after them.

    Raises:
        RequestError: no labels, too few classes or texts, a column or mix that doesn't exist.
    """
    seed = whole_number("seed", seed, 0, (1 << 32) - 1)
    whole_number("max_rows", max_rows, 1)
    all_candidates = candidates(dataset, [mixes] if isinstance(mixes, str) else mixes)
    reading, working = track.split(1, 99)
    reading.named("reading the labels")
    problem = gather(
        dataset,
        task,
        label,
        label_separator=label_separator,
        groups=groups,
        split=split,
        folds=FOLDS,
        max_rows=max_rows,
        seed=seed,
    )
    repeats = 1 if quick else _REPEATS
    run = ProbeRun(dataset, problem, repeats, seed, codes=min(repeats, CODES) if codelength else 0)
    coarse, working = working.split(2, 98)
    dropped = drop_hopeless(dataset, problem, run.design, all_candidates, coarse)
    kept = [candidate for candidate in all_candidates if candidate.name not in dropped]
    names = (f"candidate {candidate.name}" for candidate in kept)
    times = [time_of(candidate) for candidate in kept]
    weights = sum(times), time_after(kept, len(random_models))
    limit = power_note(run, len(kept), repeats)
    if limit is not None:
        run.notes.append(limit)
        coarse.note(limit)
    if not track.silent and (expected := estimate(run, kept, sum(weights))):
        coarse.note(expected)
    fitting, comparing = working.split(*weights)
    evaluations = [
        run.evaluate(candidate, step_track) for candidate, step_track in fitting.each(kept, names, times)
    ]
    builder = ResultBuilder(run, kept, evaluations, task, label)
    result = builder.make(random_models, comparing)
    return with_dropped(result, all_candidates, dropped, dataset) if dropped else result
