"""Tiny models whose tokenizers join pairs of texts as those of their families do."""

import shutil
from pathlib import Path

from tokenizers import processors

TEMPLATES = {
    "bert": "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
    "electra": "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
    "roberta": "[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0",
    "xlm-roberta": "[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0",
    "t5": "$A:0 [SEP]:0 $B:0 [SEP]:0",
    "mpnet": "$A:0 $B:0",
}


def joining(family: str, model: Path, folder: Path) -> Path:
    """Copy the model of a family to `folder`, with a tokenizer that joins pairs; the segments of BERT reach the model."""
    from transformers import AutoTokenizer

    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="$A [SEP]" if family == "t5" else "[CLS] $A [SEP]",
        pair=TEMPLATES[family],
        special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    if "1" in TEMPLATES[family]:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
    tokenizer.save_pretrained(folder)
    return folder
