"""Online codes against scikit-learn: every block at every C, each coded at the C that the blocks before it choose."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise.array_types import F32, I64
from layerwise.heads.solve import CS
from layerwise.probing.candidates import candidates
from layerwise.probing.design import CodeBlock
from layerwise.probing.online_codes import OnlineCodes, block_bits
from layerwise.probing.problem import gather
from layerwise.probing.run import ProbeRun
from planted import noise, states_of


def test_a_code_is_as_long_as_that_of_scikit_learn() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 400)
    (layer,) = noise(400, 6, 1)
    layer[:, :3] += 1.5 * np.eye(3)[labels]
    states = states_of([layer], {"y": labels.astype(str)})
    run = ProbeRun(
        states,
        gather(states, "classify", "y", groups=None, split=None, folds=5, max_rows=10_000, seed=0),
        1,
        0,
    )
    (candidate,) = candidates(states, [])
    for order, bits in zip(run.design.orders, run.evaluate(candidate).bits, strict=True):
        before = np.split(
            np.concatenate([block.rows for block in order]), np.cumsum([len(block.rows) for block in order])
        )
        trained = [np.concatenate(before[:number]) for number in range(1, len(order))]
        pairs = list(zip(trained, order[1:], strict=True))
        table = np.array([[_bits(layer, labels, rows, block, C) for C in CS] for rows, block in pairs])
        past_bits = np.vstack([np.zeros(len(CS)), table.cumsum(axis=0)])[:-1]
        chosen = [2, *past_bits[1:].argmin(axis=1)]
        exact = len(order[0].rows) * np.log2(3) + table[np.arange(len(table)), chosen].sum()
        # Fits of codes end within 1e-4 of their loss.
        assert bits == pytest.approx(exact, rel=3e-3)


def _bits(x: F32, labels: I64, trained: I64, block: CodeBlock, C: float) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, tol=1e-10, max_iter=10_000))
    model.fit(x[trained], labels[trained])
    return block_bits(np.log(model.predict_proba(x)).T.astype(np.float32), labels[block.rows], block)


def test_the_last_block_is_fitted_at_its_chosen_c_alone() -> None:
    blocks = [CodeBlock(np.arange(4 * n, 4 * n + 4), n - 1 if n else None, 4 * n) for n in range(4)]
    codes = OnlineCodes([blocks], np.zeros(16, np.int64), 2, 3)
    assert codes.followed.tolist() == [0, 1]
    assert codes.last == [2]
    chances = {0: (0.5, 0.9, 0.6), 1: (0.6, 0.7, 0.8)}
    for c_index in range(3):
        for fit in (0, 1):
            codes.add(fit, c_index, _logp(chances[fit][c_index]), np.array([fit, c_index], np.float32))
    assert codes.chosen(1) == 1, "by the bits of fit 0"
    assert codes.chosen(2) == 1, "by the bits of fits 0 and 1"
    starts = codes.starts([2])
    assert starts is not None
    assert starts.tolist() == [[1, 1]], "the solution of the block before, at the chosen C"
    codes.add(2, 1, _logp(0.75))
    zeros = np.zeros(4, np.int64)
    coded = [
        block_bits(_logp(chance), zeros, block)
        for chance, block in zip((0.6, 0.7, 0.75), blocks[1:], strict=True)
    ]
    assert codes.lengths() == pytest.approx([4 + sum(coded)]), (
        "the first fitted block is coded at the third C"
    )


def test_a_path_ends_when_the_code_without_its_last_block_grows() -> None:
    blocks = [CodeBlock(np.arange(4 * n, 4 * n + 4), n - 1 if n else None, 4 * n) for n in range(3)]
    codes = OnlineCodes([blocks], np.zeros(12, np.int64), 2, 5)
    ends = []
    for c_index, chance in enumerate((0.5, 0.9, 0.95, 0.9)):
        codes.add(0, c_index, _logp(chance))
        ends.append(codes.may_stop(0))
    assert ends == [False, False, False, True]


def _logp(chance: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.log(np.array([[chance], [1 - chance]], np.float32)).repeat(16, 1)
