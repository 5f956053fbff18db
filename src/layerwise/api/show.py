"""show: every layer of one text."""

from pathlib import Path

from layerwise import choices
from layerwise._util.threads import choose
from layerwise.encode.computing import computing
from layerwise.encode.load import load_encoder, load_without_prompts
from layerwise.encode.overview import Overview, overview
from layerwise.layers import LayerSpec
from layerwise.word_split import check_split


def show(
    text: str,
    *,
    model: str | Path = "minilm",
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    layers: LayerSpec = "all",
    level: str = "text",
    pool: str | None = None,
    special_tokens: bool = True,
    prompt: str | None = None,
    prompt_name: str | None = None,
    word_split: str | None = None,
    threads: int | None = None,
) -> Overview:
    """Return every layer of one text.

    Args:
        text: the text.
        model, revision, device, allow_pickle, trust_remote_code, adapter: see `load_encoder`.
        layers, level, pool, special_tokens, prompt, prompt_name, word_split: see `Encoder.encode`; no spans.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the vectors with their norms, token by token (or word by word), each at every layer.

    Raises:
        RequestError: a layer, level or pool that doesn't exist.
        ModelError: a model that can't be found or loaded.
    """
    choose(threads)
    choices.one_of("level", level, ("token", "word", "text"))
    check_split(word_split)
    with computing(threads):
        load = load_encoder if prompt is None and prompt_name is None else load_without_prompts
        encoder = load(
            model,
            device=device,
            revision=revision,
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
            adapter=adapter,
        )
        states = encoder.encode(
            [text],
            layers,
            level,
            pool,
            special_tokens=special_tokens,
            prompt=prompt,
            prompt_name=prompt_name,
            word_split=word_split,
        )
    return overview(encoder, states)
