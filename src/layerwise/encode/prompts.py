"""Choose the prompt of a request, the text that is put before each text, from the prompts of a model."""

from typing import Any

from layerwise.arguments import argument, is_offered
from layerwise.encode.recipe import Prompts
from layerwise.errors import RequestError
from layerwise.example import clean
from layerwise.wording import Message

_FIELD = "prompt_name"  # of requests


def chosen_prompt(model: str, prompts: Prompts, prompt: Any, prompt_name: Any) -> str:
    """Return the prompt that is put before each text; an empty string for none.

    Args:
        model: the name of the model, for errors.
        prompts: the prompts of the model.
        prompt: the prompt itself; None if it isn't given.
        prompt_name: the name of a prompt of the model; without both the default prompt of the model is used.

    Raises:
        RequestError: both, no strings, or a name that the model doesn't have.
    """
    for name, value in (("prompt", prompt), ("prompt_name", prompt_name)):
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{argument(name)} is {value!r:.60}, no string; give one")
    if prompt is not None and prompt_name is not None:
        raise RequestError(
            f"{argument('prompt', prompt)} and {argument('prompt_name', prompt_name)} are both given; leave one of them out"
        )
    if prompt is not None:
        return clean(prompt)
    if prompt_name is None:
        return "" if prompts.default is None else prompts.texts[prompts.default]
    if prompt_name not in prompts.texts:
        names = ", ".join(map(repr, prompts.texts))
        itself = (
            f"give the text itself in {argument('prompt')}"
            if is_offered("prompt")
            else f"leave {argument('prompt_name')} out"
        )
        remedy = f"choose one of {names}" if names else f"it has none; {itself}"
        raise RequestError(
            f"{argument('prompt_name')} {prompt_name!r:.60} is no prompt of model {model!r}; {remedy}"
        )
    return prompts.texts[prompt_name]


def prompt_notes(model: str, prompts: Prompts, *, of_requests: bool = False) -> tuple[str, ...]:
    """Return a note of the default prompt of a model, or that it has prompts and none is the default.

    `of_requests` says that requests to a server choose, by the field `prompt_name`.
    """
    texts = {name: text for name, text in prompts.texts.items() if text}
    if prompts.default in texts:
        prompt = _named(prompts.default, texts[prompts.default])
        if of_requests:
            return (Message("note.model.prompt.requests", model=repr(model), prompt=prompt, named=_FIELD),)
        options = {"option": argument("prompt"), "named": argument("prompt_name")}
        return (Message("note.model.prompt.default", model=repr(model), prompt=prompt, **options),)
    if not texts or prompts.default is not None:
        return ()
    names = [_named(name, text) for name, text in texts.items()]
    named = _FIELD if of_requests else argument("prompt_name")
    return (Message("note.model.prompts", model=repr(model), prompts=names, named=named),)


def _named(name: str, text: str) -> Message:
    shown = text if len(text) <= 60 else text[:59] + "…"
    return Message("note.model.prompt", name=repr(name), text=repr(shown))
