"""Adapters that peft itself makes and saves, on tiny random models, with the layers that it computes unmerged."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray

from reference import worst

MAKERS = {
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    "FEATURE_EXTRACTION": transformers.AutoModel,
    None: transformers.AutoModel,
}


class Tuned:
    """A base with an adapter whose weights are random, made by peft and saved to `folder`."""

    def __init__(
        self, base: Path, folder: Path, kind: str = "LORA", task: str | None = None, **settings: Any
    ) -> None:
        config_class: Any = peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # peft and transformers warn of new heads, and of each other's names
            torch.manual_seed(1)
            model = MAKERS[task].from_pretrained(base)
            self.model: Any = peft.get_peft_model(model, config_class(task_type=task, **settings))
            for name, parameter in self.model.named_parameters():
                # Some begin as zero: the adapter would change nothing.
                if parameter.requires_grad and "classifier" not in name:
                    parameter.data += torch.randn_like(parameter) * 0.1
            self.model.eval()
            self.model.save_pretrained(folder)
        self.folder = folder

    def states(self, ids: list[int]) -> NDArray[np.float64]:
        """All layers of one sequence of token numbers, unmerged: (layers, tokens, width)."""
        model = self.model
        if model.config.is_encoder_decoder:
            model = model.base_model.model.encoder
        with torch.no_grad():
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        return np.stack([state[0].double().numpy() for state in out.hidden_states])

    def off(self, encoder: Any, texts: list[str]) -> float:
        """How far the layers of texts are off those that peft gives unmerged, at most."""
        states = encoder.encode(texts, level="token")
        rows = [states.where(doc=doc) for doc in range(len(texts))]
        ids = [states.index["token_id"].take(own).to_pylist() for own in rows]
        return max(
            worst(states.stack()[:, own], self.states(numbers))
            for own, numbers in zip(rows, ids, strict=True)
        )
