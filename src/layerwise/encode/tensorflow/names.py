"""Translate the names of TensorFlow's variables into those of transformers' modules.

Variables have names such as `bert/encoder/layer_0/attention/self/query/kernel`; the module of transformers is
`encoder.layer.0.attention.self.query.weight`, transposed. There are four dialects: Google's code for TensorFlow 1 (BERT,
ALBERT, ELECTRA), the TensorFlow classes of transformers (`layer_._0`), and names and keys of the models of TensorFlow 2
(`transformer/layer_0/self_attention/…`, `layer_with_weights-4/_attention_layer/…`).

Source: transformers, the conversion scripts convert_*_tf_checkpoint_to_pytorch.py and modeling_tf_pytorch_utils.py.
"""

import re

FAMILIES = ("bert", "albert", "electra")
# The last part of a variable's name, and that of the module's tensor.
_TENSORS = {
    "kernel": "weight", "gamma": "weight", "weight": "weight", "embeddings": "weight", "embedding": "weight",
    "bias": "bias", "beta": "bias",
}  # fmt: skip
_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_SLOT = re.compile(
    r"(?:^|/)(?:adam_[mv]|Adam(?:_1)?|lamb_[mv]|Momentum|ExponentialMovingAverage)$|\.OPTIMIZER_SLOT"
)
_LAYER = re.compile(r"layer_(?:\._)?(\d+)")
_NUMBERED = re.compile(r"(\w+)_\._(\d+)")
_ALBERT = (
    ("ffn_1/intermediate/output/dense", "ffn_output"),
    ("ffn_1/intermediate/dense", "ffn"),
    ("attention_1/output/dense", "attention/dense"),
    ("attention_1/self", "attention"),
    ("LayerNorm_1", "full_layer_layer_norm"),
    ("pooler/dense", "pooler"),
)
_ALBERT_GROUP = re.compile(r"transformer/group_(\d+)/inner_group_(\d+)")
# The parts of a block in the models of TensorFlow 2: attributes in keys, and names of variables.
_KEY_PARTS = {
    **{f"_attention_layer/_{part}_dense": f"attention.self.{part}" for part in ("query", "key", "value")},
    "_attention_layer/_output_dense": "attention.output.dense",
    "_attention_output_dense": "attention.output.dense",
    "_attention_layer_norm": "attention.output.LayerNorm",
    "_intermediate_dense": "intermediate.dense",
    "_output_dense": "output.dense",
    "_output_layer_norm": "output.LayerNorm",
}
_NAME_PARTS = {
    **{f"self_attention/{part}": f"attention.self.{part}" for part in ("query", "key", "value")},
    "self_attention/attention_output": "attention.output.dense",
    "self_attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
_OUTSIDE = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "type_embeddings": "embeddings.token_type_embeddings",
    "embeddings/layer_norm": "embeddings.LayerNorm",
    "pooler_transform": "pooler.dense",
    "_embedding_layer": "embeddings.word_embeddings",
    "_position_embedding_layer": "embeddings.position_embeddings",
    "_type_embedding_layer": "embeddings.token_type_embeddings",
    "_embedding_norm_layer": "embeddings.LayerNorm",
    "_pooler_layer": "pooler.dense",
}
_NAME_BLOCK = re.compile(r"(?:^|.*/)transformer/layer_(\d+)/(.+)")
_KEY_BLOCK = re.compile(r"(?:^|.*/)_transformer_layers/(\d+)/(.+)")
# Keys number the layers that have weights: three embeddings, their norm, the blocks, the pooler.
_KEY_NUMBERED = re.compile(r"(?:(?:model|encoder)/)*(?:layer_with_weights-0/)?layer_with_weights-(\d+)/(.+)")
_FIRST_LAYERS = (*(f"embeddings.{name}" for name in _EMBEDDINGS), "embeddings.LayerNorm")


def is_slot(name: str) -> bool:
    """Return whether a variable belongs to an optimiser or is an average of another variable."""
    return bool(_SLOT.search(name)) or name.startswith(("optimizer/", "_optimizer/"))


def tensor_name(name: str, family: str, blocks: int) -> str | None:
    """Return the name of transformers for a variable, or None for one that isn't of the encoder.

    Args:
        name: a variable's name or key.
        family: one of `FAMILIES`.
        blocks: the number of blocks of the model.
    """
    inner = _inner(name, family)
    if inner is not None:
        return _of_module(_albert(inner) if family == "albert" else inner)
    return _of_tf2(name, blocks) if family == "bert" else None


def is_of_encoder(name: str, family: str) -> bool:
    """Return whether a name says that its variable belongs to the encoder, known or not."""
    is_of_block = any(pattern.fullmatch(name) for pattern in (_NAME_BLOCK, _KEY_BLOCK))
    return _inner(name, family) is not None or is_of_block or "_attention_layer" in name


def _inner(name: str, family: str) -> str | None:
    """Return the part of a name after that of the encoder: `bert/`, in Google's ALBERT as well."""
    parts = name.split("/")
    prefixes = ("bert", family) if family == "albert" else (family,)
    last = max((number for number, part in enumerate(parts) if part in prefixes), default=None)
    inner = None if last is None else "/".join(parts[last + 1 :])
    return inner or None


def _of_module(inner: str) -> str:
    """Return a name in the form of transformers: `encoder/layer_0/…/kernel`: `encoder.layer.0….weight`."""
    named = _NUMBERED.sub(r"\1/\2", _LAYER.sub(r"layer/\1", inner))
    *module, tensor = named.split("/")
    if tensor in _EMBEDDINGS:
        return ".".join([*module, tensor, "weight"])
    return ".".join([*module, _TENSORS.get(tensor, tensor)])


def _albert(inner: str) -> str:
    """Return the name of a part of ALBERT with the names of transformers for its modules."""
    is_google = "transformer/" in inner
    inner = _ALBERT_GROUP.sub(r"encoder/albert_layer_groups/\1/albert_layers/\2", inner)
    inner = inner.replace("encoder/encoder/", "encoder/")
    for part, module in _ALBERT:
        inner = inner.replace(part, module)
    return re.sub(r"(albert_layers/\d+)/LayerNorm", r"\1/attention/LayerNorm", inner) if is_google else inner


def _of_tf2(name: str, blocks: int) -> str | None:
    """Return the name for a name or key of the BERT of TensorFlow 2."""
    for pattern, parts in ((_NAME_BLOCK, _NAME_PARTS), (_KEY_BLOCK, _KEY_PARTS)):
        if match := pattern.fullmatch(name):
            return _part(f"encoder.layer.{match[1]}", match[2], parts)
    if match := _KEY_NUMBERED.fullmatch(name):
        return _numbered(int(match[1]), match[2], blocks)
    module, _, tensor = name.rpartition("/")
    for ending, translated in _OUTSIDE.items():
        if (module == ending or module.endswith(f"/{ending}")) and tensor in _TENSORS:
            return f"{translated}.{_TENSORS[tensor]}"
    return None


def _numbered(number: int, inner: str, blocks: int) -> str | None:
    first = len(_FIRST_LAYERS)
    if first <= number < first + blocks:
        return _part(f"encoder.layer.{number - first}", inner, _KEY_PARTS)
    if inner not in _TENSORS or number > first + blocks:
        return None
    module = _FIRST_LAYERS[number] if number < first else "pooler.dense"
    return f"{module}.{_TENSORS[inner]}"


def _part(block: str, inner: str, parts: dict[str, str]) -> str | None:
    module, _, tensor = inner.rpartition("/")
    return f"{block}.{parts[module]}.{_TENSORS[tensor]}" if module in parts and tensor in _TENSORS else None
