"""Write the fixtures in `encode/tensorflow/` with TensorFlow itself; run once, in an environment of its own:

    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.19.1 tf-keras==2.19.0 transformers==4.56.2
    tf/bin/python tests/tensorflow_fixtures.py tests/encode/tensorflow

They are tiny models with random weights: BERT by TensorFlow 1's Saver in two data files (with a partitioned table, slots
of an optimiser and a head), BERT and ALBERT and ELECTRA by the TensorFlow classes of transformers. `states.npz` has the
hidden states that TensorFlow itself computes for a few token ids.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import numpy as np
import tensorflow as tf
from transformers import (
    AlbertConfig,
    BertConfig,
    ElectraConfig,
    TFAlbertModel,
    TFBertForMaskedLM,
    TFBertModel,
    TFElectraModel,
)

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    "all", "work", "and", "no", "play", "makes", "jack", "a", "dull", "boy", "##s",
]  # fmt: skip
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}
IDS = [[2, 5, 6, 7, 8, 9, 3], [2, 10, 11, 12, 13, 15, 3]]


def random_weights(model: Any) -> Any:
    """Give a model random weights: fresh biases are zero, and norms are one."""
    random = np.random.default_rng(7)
    model(tf.constant(IDS))
    model.set_weights(
        [random.normal(0, 0.5, value.shape).astype(value.dtype) for value in model.get_weights()]
    )
    return model


def states(model: Any) -> Any:
    """Return all hidden states, (layers, texts, tokens, width)."""
    return np.stack(
        [state.numpy() for state in model(tf.constant(IDS), output_hidden_states=True).hidden_states]
    )


def put_vocabulary(folder: Path) -> None:
    """Write the vocabulary of a model."""
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")


def write_tf1(folder: Path, weights: dict[str, Any], config: BertConfig) -> None:
    """Write a checkpoint of TensorFlow 1 in two data files, with Google's names."""
    folder.mkdir()
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        variables = []
        for name, value in weights.items():
            if name.endswith("word_embeddings"):
                variables.append(
                    tf.compat.v1.get_variable(
                        name,
                        value.shape,
                        initializer=lambda shape, dtype=None, partition_info=None, value=value: tf.constant(
                            value[partition_info.var_offset[0] :][: shape[0]]
                        ),
                        partitioner=tf.compat.v1.fixed_size_partitioner(3, axis=0),
                        use_resource=False,
                    )
                )
                continue
            variables.append(tf.compat.v1.get_variable(name, initializer=value, use_resource=False))
            variables.append(
                tf.compat.v1.get_variable(f"{name}/adam_m", initializer=value * 0, use_resource=False)
            )
        variables.append(
            tf.compat.v1.get_variable("cls/predictions/output_bias", initializer=np.zeros(16, "f4"))
        )
        variables.append(
            tf.compat.v1.get_variable("global_step", initializer=np.int64(3), use_resource=False)
        )
        session.run(tf.compat.v1.global_variables_initializer())
        halves = [variables[0::2], variables[1::2]]
        for number, half in enumerate(halves):
            tf.compat.v1.train.Saver(half).save(
                session, str(folder / f"part{number}"), write_meta_graph=False, write_state=False
            )
    parts = [str(folder / f"part{number}") for number in range(2)]
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(folder / "bert_model.ckpt")
    )
    entries = {key: value for key, value in config.to_dict().items() if key in SIZES or key == "hidden_act"}
    (folder / "bert_config.json").write_text(json.dumps(entries, indent=1))
    put_vocabulary(folder)


def google_names(model: Any) -> dict[str, Any]:
    """Return the weights of a BERT of transformers by the names that Google's code gives them."""
    weights = {}
    for variable in model.weights:
        name = variable.name.removesuffix(":0").split("bert/", 1)[1].replace("layer_._", "layer_")
        name = name.removeprefix("bert/")
        for ending in (
            "word_embeddings/weight",
            "position_embeddings/embeddings",
            "token_type_embeddings/embeddings",
        ):
            if name.endswith(ending):
                name = name.rsplit("/", 1)[0]
        weights[f"bert/{name}"] = variable.numpy()
    return weights


def main(out: Path) -> None:
    """Write all fixtures into a folder."""
    out.mkdir(exist_ok=True)
    expected = {}
    config = BertConfig(**SIZES)
    bert = random_weights(TFBertModel(config))
    expected["bert"] = states(bert)
    write_tf1(out / "tf1_bert", google_names(bert), config)
    bert.save_pretrained(out / "h5_bert")
    bert.save_pretrained(out / "h5_sharded", max_shard_size="2KB")
    (out / "tf2_bert").mkdir()
    tf.train.Checkpoint(model=bert, step=tf.Variable(1)).write(str(out / "tf2_bert" / "model.ckpt"))
    tf.saved_model.save(bert, str(out / "saved_bert"))
    for path in (out / "saved_bert").iterdir():
        if path.name != "variables":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    masked = random_weights(TFBertForMaskedLM(config))
    expected["h5_masked"] = states(masked)
    masked.save_pretrained(out / "h5_masked")
    albert = random_weights(TFAlbertModel(AlbertConfig(**SIZES, embedding_size=6)))
    expected["h5_albert"] = states(albert)
    albert.save_pretrained(out / "h5_albert")
    electra = random_weights(TFElectraModel(ElectraConfig(**SIZES, embedding_size=6)))
    expected["h5_electra"] = states(electra)
    electra.save_pretrained(out / "h5_electra")
    for name in ("h5_bert", "h5_sharded", "h5_masked", "h5_albert", "h5_electra", "tf2_bert", "saved_bert"):
        if not (out / name / "config.json").exists():
            config.save_pretrained(out / name)
        put_vocabulary(out / name)
    (out / "h5_albert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    np.savez_compressed(out / "states.npz", ids=np.array(IDS), **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
