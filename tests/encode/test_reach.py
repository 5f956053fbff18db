"""The reach of masks, against masks that transformers makes of the same functions."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import masking_utils as masks

from layerwise.encode.attention import Runs, packed_attention
from layerwise.encode.reach import Reach, Reaches, band, record_attention, record_mask, recorded

FORMS = {
    "causal": (masks.causal_mask_function, Reach(True, None)),
    "all": (masks.bidirectional_mask_function, Reach(False, None)),
    "window": (masks.sliding_window_causal_mask_function(5), Reach(True, 5)),
    "one": (masks.sliding_window_causal_mask_function(1), Reach(True, 1)),
    "beyond": (masks.sliding_window_causal_mask_function(90), Reach(True, None)),
    "chunks": (masks.chunked_causal_mask_function(7, torch.zeros(1, dtype=torch.long)), None),
    "ahead": (lambda batch, head, query, key: (query - key).abs() <= 4, Reach(False, 5)),
    "before": (lambda batch, head, query, key: key < query, None),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_band_of_a_mask(form: str) -> None:
    function, reach = FORMS[form]
    assert band(function, 40) == reach


def test_only_a_reach_that_the_masks_have_agrees() -> None:
    with recorded() as reaches:
        record_attention(True, 5)
        record_mask(masks.sliding_window_causal_mask_function(5), 40)
        record_mask(masks.causal_mask_function, 3)
    assert reaches.agree()
    record_attention(False, None)
    assert reaches.attention == {Reach(True, 5)}, "it was recorded outside the block"
    for attention in (Reach(True, 6), Reach(True, None), Reach(False, 5)):
        assert not Reaches({attention}, {40: {Reach(True, 5)}}).agree()
    assert Reaches({Reach(True, 50)}, {40: {Reach(True, None)}}).agree()
    assert not Reaches({Reach(True, None)}, {40: {Reach(True, None), None}}).agree()
    assert Reaches({Reach(True, 5)}, {}).agree()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("softcap", [None, 0.5])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_packed_attention_is_that_of_its_definition(
    causal: bool, window: int | None, softcap: float | None, groups: int
) -> None:
    torch.manual_seed(0)
    lengths, heads, size = [2, 2, 5, 7], 4, 20
    tokens = sum(lengths)
    query = torch.randn(1, heads, tokens, size)
    key, value = (torch.randn(1, groups, tokens, size) for _ in range(2))
    module = nn.Module()
    module.is_causal = causal  # type: ignore[assignment]
    runs = Runs([(2, 2), (1, 5), (1, 7)])
    actual, weights = packed_attention(
        module, query, key, value, None, 0.3, sliding_window=window, softcap=softcap, lw_runs=runs
    )
    assert weights is None
    begin = 0
    for length in lengths:
        for i in range(length):
            reached = [
                j for j in range(length) if (window is None or abs(i - j) < window) and (j <= i or not causal)
            ]
            for head in range(heads):
                group = head * groups // heads
                places = [begin + j for j in reached]
                scores = key[0, group, places] @ query[0, head, begin + i] * 0.3
                scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
                expected = scores.softmax(0) @ value[0, group, places]
                torch.testing.assert_close(actual[0, begin + i, head], expected, atol=1e-5, rtol=1e-5)
        begin += length


@pytest.mark.parametrize("name", ["s_aux", "position_bias"])
def test_attention_that_it_does_not_have(name: str) -> None:
    query = torch.zeros(1, 1, 2, 16)
    further: dict[str, Any] = {name: torch.zeros(1)}
    with pytest.raises(ValueError, match="can't be packed"):
        packed_attention(nn.Module(), query, query, query, None, lw_runs=Runs([(1, 2)]), **further)
