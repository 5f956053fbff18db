"""The probe: score every layer and mix on the same folds, and test which differences are significant."""

from collections.abc import Sequence
from dataclasses import replace

from layerwise._util.display import score_digits
from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.choices import CLASS_WEIGHTS, one_of, whole_number
from layerwise.errors import RequestError
from layerwise.options import ProbeOptions
from layerwise.probing.candidates import candidates, time_of
from layerwise.probing.centred_rows import CentredRows
from layerwise.probing.coarse import drop_hopeless
from layerwise.probing.duration import estimate
from layerwise.probing.expected_layer import cumulative_mixes
from layerwise.probing.extras import ProbeExtras, read_vectors
from layerwise.probing.home_and_abroad import transfer
from layerwise.probing.power import power_note
from layerwise.probing.problem import gather
from layerwise.probing.results import ProbeResult
from layerwise.probing.run import CODES, FOLDS, ProbeRun, RandomModel
from layerwise.probing.summary import ResultBuilder, time_after, with_dropped
from layerwise.states import Layered
from layerwise.word_vectors import VectorReader
from layerwise.wording import Message, digits

_REPEATS = 5


def probe(
    dataset: Layered,
    task: str,
    label: str,
    options: ProbeOptions,
    *,
    random_models: Sequence[RandomModel] = (),
    vectors: VectorReader | None = None,
    track: Tracker = SILENT,
) -> ProbeResult:
    """Score every layer and mix of a dataset for a label, with intervals, tests, baselines and advice.

    Scores come from nested cross-validation, repeated with several seeds, or from the user's own split.

    Args:
        dataset: rows on disk or in memory; one layer of the used rows is in memory at a time, and for a mix
            all of its layers.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        options: how candidates are compared; its `labels_from`, `random_model`, `vectors` and `lang` are for the verb.
        random_models: models with random weights, on which the best candidate is scored as a baseline.
        vectors: reads static word vectors, another baseline.
        track: progress over candidates, folds and Cs, and the steps after them.

    Raises:
        RequestError: no labels, too few classes or texts, a column or mix that doesn't exist.
    """
    seed = whole_number("seed", options.seed, 0, (1 << 32) - 1)
    whole_number("max_rows", options.max_rows, 1)
    mixes = options.mix
    if options.centre is not None:
        dataset = _centred(dataset, options.centre, label, random_models)
    all_candidates = candidates(dataset, [mixes] if isinstance(mixes, str) else mixes)
    cumulative = cumulative_mixes(dataset) if options.expected_layer else []
    reading, working = track.split(1, 99)
    reading.named("reading the labels")
    problem = gather(
        dataset,
        task,
        label,
        label_separator=options.label_separator,
        metric=options.metric,
        groups=options.groups,
        split=options.split,
        folds=FOLDS,
        max_rows=options.max_rows,
        seed=seed,
    )
    features = read_vectors(dataset, problem, vectors) if vectors is not None else None
    repeats = 1 if options.quick else _REPEATS
    if options.class_weight is not None:
        _check_class_weight(options.class_weight, task, problem.labelled.multi)
    codes = 0 if options.no_codelength else min(repeats, CODES)
    run = ProbeRun(dataset, problem, repeats, seed, codes=codes, balanced=options.class_weight is not None)
    coarse, working = working.split(2, 98)
    dropped = drop_hopeless(dataset, problem, run.design, all_candidates, coarse)
    kept = [candidate for candidate in all_candidates if candidate.name not in dropped]
    names = (f"candidate {candidate.name}" for candidate in kept)
    times = [time_of(candidate) for candidate in kept]
    extras = ProbeExtras(run, features, options.head_type == "mlp", cumulative)
    weights = sum(times), extras.time(kept), time_after(kept, len(random_models))
    planning = coarse.named("planning the fits", done=1.0)
    limit = power_note(run, len(kept), repeats)
    if limit is not None:
        run.notes.append(limit)
        planning.note(limit)
    if not track.silent:
        solved = sum(times) + extras.solver_time(kept) + weights[-1]
        expected = (estimate(run, kept, solved), extras.network_time(kept))
        for note in filter(None, expected):
            planning.note(note)
    fitting, adding, comparing = working.split(*weights)
    evaluations = [
        run.evaluate(candidate, step_track) for candidate, step_track in fitting.each(kept, names, times)
    ]
    builder = ResultBuilder(run, kept, evaluations, task, label)
    scored_extras = extras.score(kept, evaluations, adding)
    if isinstance(dataset, CentredRows):
        run.notes.append(Message("note.centred", column=repr(options.centre), n=len(dataset.groups)))
        if dataset.alone:
            run.notes.append(Message("note.centred.alone", column=repr(options.centre), n=dataset.alone))
    result = builder.make(random_models, scored_extras, comparing)
    with digits(score_digits(((c.low, c.high) for c in result.candidates), result.rows)):
        moved = transfer(run, kept, evaluations)
    result = replace(result, transfer=moved, centre=options.centre)
    return with_dropped(result, all_candidates, dropped, run) if dropped else result


def _centred(dataset: Layered, column: str, label: str, random_models: Sequence[RandomModel]) -> CentredRows:
    """Return the dataset with the mean of each value of a column subtracted.

    Raises:
        RequestError: no such column; the column of the labels; models with random weights, whose rows would not be centred.
    """
    if column == label:
        raise RequestError(
            f"{argument('centre', column)} is the column of the labels, so that the vectors of the test rows would depend on "
            "their labels; name another column, such as the language"
        )
    if random_models:
        raise RequestError(
            f"{argument('centre', column)} can't be combined with {argument('random_model', True)}, whose rows aren't centred; "
            "leave one out"
        )
    return CentredRows(dataset, column)


def _check_class_weight(class_weight: str, task: str, multi: bool) -> None:
    """Raise RequestError for a class weight that doesn't exist, or a task without single classes."""
    one_of("class_weight", class_weight, CLASS_WEIGHTS)
    if task == "regress" or multi:
        raise RequestError(
            f"{argument('class_weight', class_weight)} can't be used with {argument('task', task)}"
            f"{' and several labels per row' if multi else ''}; leave it out"
        )
