"""Tiny models of many families, made from a config with random weights, and the real minilm."""

import functools
import itertools
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Tiny models gain nothing from threads, and lose much on a machine that is busy; nor do those of the processes that
# tests start. Before torch is imported, as it is read but once.
os.environ["OMP_NUM_THREADS"] = "1"
# Ray's workers give way to all other processes by default, and on a busy machine hardly get a turn.
os.environ.update(RAY_worker_niceness="0")

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from layerwise._util.once import forget_texts
from loaded_models import ROOMS, LoadedModels, loading_once
from warm import Python, warm_python

torch.set_num_threads(1)
# On a busy machine an example takes as long as it takes.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
pytest_plugins = ["serving_fixtures"]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processes for `-n auto`: one more than processors, as tests wait for browsers, servers and disks."""
    return min(4, 1 + (os.cpu_count() or 1))


SHARED = Path(__file__).parents[2] / "shared"
# The folder of multilingual-e5-small, made by shared/tools/e5_small.py.
E5 = Path(os.environ.get("LAYERWISE_TEST_E5", "nowhere"))
CORPUS = [
    "Every layer of every encoder, as data.",
    "The first layers know where a word stands; the last know more than it says.",
    "a", "", "   ", "Don't stop: 3.14 is not 22/7!", "naïve café, Zürich, İstanbul, ΑΒΓ",
    "天气很好，我们去公园。", "e\u0301 combining, zero\u200dwidth, nul\x00 and \ufffd", "👩‍👩‍👧 🙂🙂 emoji",
    "[CLS] is said aloud [SEP] here", "\u202eright to left\u202c שלום", "word " * 40, "x" * 150,
    "Sentences of several lengths make batches with several runs.",
    "Sentences of several lengths make batches with padding.",
]  # fmt: skip
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
}
SEQ2SEQ = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4, "num_decoder_layers": 1}
# family -> (tokenizer, config, how its batches can be made)
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "bert": ("wordpiece", SMALL, "packed"),
    "roberta": ("bytes", SMALL, "packed"),
    "xlm-roberta": ("unigram", SMALL, "packed"),
    "camembert": ("unigram", SMALL, "packed"),
    "distilbert": (
        "wordpiece",
        {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 80},
        "packed",
    ),
    "albert": ("unigram", {**SMALL, "embedding_size": 16}, "packed"),
    "electra": ("wordpiece", {**SMALL, "embedding_size": 16}, "packed"),
    "ernie": ("wordpiece", SMALL, "packed"),
    # MobileBERT's embeddings look at their left and right neighbours, so texts may not stand side by side.
    "mobilebert": ("wordpiece", {**SMALL, "embedding_size": 32, "intra_bottleneck_size": 16}, "even"),
    "modernbert": ("bytes", {**SMALL, "local_attention": 16}, "packed"),
    # Scales its embeddings by the share of masks in a row.
    "esm": ("wordpiece", {**SMALL, "mask_token_id": 4, "token_dropout": True}, "packed"),
    # Looks at parts of a text of more than 28 tokens, at all of a shorter one; and fills up to whole blocks.
    "big_bird": ("unigram", {**SMALL, "block_size": 4, "num_random_blocks": 1}, "even"),
    "mpnet": ("wordpiece", SMALL, "padded"),
    "deberta-v2": (
        "unigram",
        {
            **SMALL,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        },
        "padded",
    ),
    "roformer": ("wordpiece", SMALL, "padded"),
    "convbert": ("wordpiece", {**SMALL, "embedding_size": 32, "head_ratio": 2}, "even"),
    "squeezebert": ("wordpiece", {**SMALL, "embedding_size": 32}, "padded"),
    "t5": ("unigram", SEQ2SEQ, "padded"),
}
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def merges_of(words: Counter[tuple[str, ...]], count: int) -> list[tuple[str, str]]:
    """Return the pairs that byte-pair encoding merges; the library's trainers break ties by chance."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        found.append(best)
        words = Counter({tuple(merged(word, best)): times for word, times in words.items()})
    return found


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> Iterator[str]:
    letters = iter([*word, ""])
    last = next(letters)
    for letter in letters:
        if (last, letter) == pair:
            last, letter = joined(*pair), next(letters)
        yield last
        last = letter


def joined(first: str, second: str) -> str:
    return first + second.removeprefix("##")


def make_tokenizer(kind: str, *, ends_only: bool = False) -> Any:
    """Make a small tokenizer of the kind `wordpiece`, `bytes` (byte-level BPE) or `unigram` from CORPUS."""
    from transformers import PreTrainedTokenizerFast

    normalizer: Any = {
        "wordpiece": normalizers.BertNormalizer(lowercase=True),
        "unigram": normalizers.NFKC(),
    }.get(kind)
    splitter: Any = {
        "wordpiece": pre_tokenizers.BertPreTokenizer(),
        "bytes": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "unigram": pre_tokenizers.Metaspace(),
    }[kind]
    texts = [text if normalizer is None else normalizer.normalize_str(text) for text in CORPUS]
    found = [word for text in texts for word, _ in splitter.pre_tokenize_str(text)]
    inner = "##" if kind == "wordpiece" else ""
    words = Counter((word[0], *(inner + letter for letter in word[1:])) for word in found)
    alphabet = {form for word in words for letter in word for form in (letter, letter.removeprefix("##"))}
    if kind == "bytes":
        alphabet |= set(pre_tokenizers.ByteLevel.alphabet())
    special = list(SPECIAL.values())
    size = 400 if kind == "bytes" else 300
    merges = merges_of(words, size - len(special) - len(alphabet))
    tokens = [*sorted(alphabet), *dict.fromkeys(joined(*pair) for pair in merges)]
    vocab = {token: number for number, token in enumerate(dict.fromkeys([*special, *tokens]))}
    if kind == "wordpiece":
        backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    elif kind == "bytes":
        backend = Tokenizer(models.BPE(vocab, merges))
        backend.decoder = decoders.ByteLevel()
    else:
        # Long tokens are likelier than the letters that they are made of.
        scores = [(token, 0.0 if token in special else -10.0 - 1 / len(token)) for token in vocab]
        backend = Tokenizer(models.Unigram(scores, vocab["[UNK]"]))
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = splitter
    backend.add_special_tokens(special)
    ids = {token: backend.token_to_id(token) for token in special}
    single = "$A [SEP]" if ends_only else "[CLS] $A [SEP]"
    backend.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    given = {key: token for key, token in SPECIAL.items() if not (ends_only and key == "cls_token")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=80, **given)


def make_model(family: str, folder: Path, **overrides: Any) -> Path:
    """Write a tiny random model of a family with its tokenizer to `folder`."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    kind, settings, _ = FAMILIES[family]
    tokenizer = make_tokenizer(kind, ends_only=family == "t5")
    pad, cls, sep = tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id
    special = {
        "pad_token_id": pad,
        "cls_token_id": cls,
        "sep_token_id": sep,
        "bos_token_id": cls,
        "eos_token_id": sep,
    }
    config = AutoConfig.for_model(
        family, **{**settings, "vocab_size": len(tokenizer), **special, **overrides}
    )
    torch.manual_seed(7)
    maker = AutoModelForTextEncoding if family == "t5" else AutoModel
    model = maker.from_config(config)
    # Fresh biases are zero and norms are one: random ones would show a part that is left out.
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if os.environ.get("LAYERWISE_TEST_ROUNDING") == "rows":  # see rounding.py

    @pytest.fixture(scope="session", autouse=True)
    def rounding_by_rows() -> Iterator[None]:
        """Products that round by the number of rows, for the whole session."""
        from rounding import products_that_round_by_rows

        yield from products_that_round_by_rows()


LOADED = LoadedModels()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose whether the test and its fixtures may use models that others have loaded."""
    LOADED.kept = item.path.parent.name in ROOMS


@pytest.fixture(scope="session", autouse=True)
def _models_are_loaded_once() -> Iterator[None]:
    """Verbs and commands use a model again that one before them has loaded."""
    with loading_once(LOADED):
        yield


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    """Notes that a test before told are told again."""
    forget_texts()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a family to a folder with a tiny model of it, made once a session."""

    @functools.cache
    def make(family: str) -> Path:
        return make_model(family, tmp_path_factory.mktemp(f"model-{family}"))

    return make


@pytest.fixture
def model(model_folder: Callable[[str], Path]) -> str:
    """The folder of a tiny BERT, as a name for `model=`."""
    return str(model_folder("bert"))


@pytest.fixture(scope="session")
def encoder_of(model_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """A function from a family to its loaded encoder, loaded once a session."""
    from layerwise.encode.load import load_encoder

    return functools.cache(lambda family: load_encoder(model_folder(family), device="cpu"))


@pytest.fixture(scope="session")
def minilm() -> Any:
    """The real minilm, loaded once a session."""
    from layerwise.encode.load import load_encoder

    return load_encoder("minilm", device="cpu")


@pytest.fixture(scope="session")
def python() -> Iterator[Python]:
    """Makes Python processes that needn't import torch, once a session."""
    with warm_python() as made:
        yield made


@pytest.fixture
def quick_workers(python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes of `workers=` be such ones."""
    from layerwise.parallel import local

    given = SimpleNamespace(Popen=python.popen, PIPE=subprocess.PIPE)
    monkeypatch.setattr(local, "subprocess", given)


@pytest.fixture
def quick_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken_ceilings(monkeypatch)


def quicken_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `bench` measure the processor's best matrix product by one run, where no number matters."""
    from layerwise.encode import int8, linear

    for module in (int8, linear):
        monkeypatch.setattr(module, "ceiling", functools.partial(module.ceiling, repeats=1))
