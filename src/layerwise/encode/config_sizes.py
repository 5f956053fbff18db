"""Check the sizes in a model's config.json before a model of these sizes is built.

transformers allocates whatever a configuration states. A damaged or hostile file with a width of 10**12 would end in
a killed process or in an error that names no file.
"""

from pathlib import Path

from layerwise._util import json_checks
from layerwise._util.guarded import BLOCKS, WIDTH, read_json
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.model_errors import first_line
from layerwise.encode.model_file_names import config_files
from layerwise.errors import ModelError

_COUNT = json_checks.optional(json_checks.whole(0, BLOCKS))
_SIZE = json_checks.optional(json_checks.whole(0, WIDTH))
# Each family has its own names for its sizes. Null, or no entry, means the default of the family.
_SIZES: json_checks.Schema = {
    "model_type": json_checks.optional(json_checks.text),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "num_decoder_layers"), _COUNT),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_hidden_groups"), _COUNT),
    **dict.fromkeys(("inner_group_num", "num_feedforward_networks"), _COUNT),
    **dict.fromkeys(("hidden_size", "dim", "d_model", "n_embd", "embedding_size"), _SIZE),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "ffn_dim", "intra_bottleneck_size"), _SIZE),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads", "num_key_value_heads"), _SIZE),
    "vocab_size": json_checks.optional(json_checks.whole(0, 1 << 31)),
    "type_vocab_size": _SIZE,
    # transformers makes a name for each label.
    "num_labels": json_checks.optional(json_checks.whole(0, 1 << 17)),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx"),
        json_checks.optional(json_checks.whole(-1, 1 << 24)),
    ),
}


def check_sizes(checkpoint: Checkpoint) -> None:
    """Check the sizes in every configuration file of a model.

    Raises:
        ModelError: a size that no model has, naming the entry and the file.
    """
    for path in config_files(checkpoint.folder):
        _check_file(checkpoint, path)


def _check_file(checkpoint: Checkpoint, path: Path) -> None:
    try:
        entries = read_json(path, lenient=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {path}: {first_line(error)}; put the right file there"
        ) from None
    if not isinstance(entries, dict):
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {path} holds no JSON object; put the right file there"
        )
    wrong = json_checks.first_wrong(entries, _SIZES)
    if wrong is not None:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {wrong} is {entries[wrong]!r:.60} in {path}, which no model has; put "
            "the right file there"
        )
