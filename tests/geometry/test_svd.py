"""Singular values where numpy's method gives up: what the slower one returns has the same meaning."""

from typing import Any

import numpy as np
import pytest

from layerwise.geometry.svd import singular_values, svd


@pytest.mark.parametrize("full_matrices", [True, False])
def test_another_method_takes_over_where_numpy_does_not_converge(
    full_matrices: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(9, 2)) @ rng.normal(size=(2, 6))  # rank 2
    expected = svd(matrix, full_matrices=full_matrices)
    sizes = singular_values(matrix)

    def fail(*_: Any, **__: Any) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr("numpy.linalg.svd", fail)
    u, s, vt = svd(matrix, full_matrices=full_matrices)
    assert [part.shape for part in (u, s, vt)] == [part.shape for part in expected]
    np.testing.assert_allclose((u[:, :6] * s) @ vt, matrix, atol=1e-12)
    np.testing.assert_allclose(u.T @ u, np.eye(u.shape[1]), atol=1e-12)
    np.testing.assert_allclose(s, expected[1], atol=1e-12)
    np.testing.assert_allclose(singular_values(matrix), sizes, atol=1e-12)
