"""Messages name parameters in Python and flags on the command line."""

import threading

import pytest

import layerwise as lw
from layerwise.arguments import are_flags, argument, as_flags, is_offered, offering
from layerwise.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "parameter", "flag"),
    [
        (("max_rows",), "max_rows", "--max-rows"),
        (("max_rows", 0), "max_rows=0", "--max-rows 0"),
        (("task", "regress"), "task='regress'", "--task regress"),
        (("no_text", True), "no_text=True", "--no-text"),
        (("special_tokens", False), "special_tokens=False", "--no-special-tokens"),
        (("keep", ["a", "b"]), "keep=['a', 'b']", "--keep a b"),
        (("label_separator", ""), "label_separator=''", "--label-separator ''"),
    ],
)
def test_an_argument_is_named_as_its_user_writes_it(
    arguments: tuple[str, ...], parameter: str, flag: str
) -> None:
    assert argument(*arguments) == parameter
    with as_flags():
        assert argument(*arguments) == flag
        with as_flags(False):
            assert argument(*arguments) == parameter
    assert not are_flags()


def test_a_message_names_only_what_the_user_can_give() -> None:
    assert is_offered("prompt")
    for flags in (True, False):
        with as_flags(flags), offering({"model", "prompt"}), offering({"model"}):
            assert is_offered("model")
            assert not is_offered("prompt")
    assert is_offered("prompt")


def test_threads_of_the_command_line_name_flags_too() -> None:
    named: list[str] = []
    with as_flags():
        thread = threading.Thread(target=lambda: named.append(argument("max_rows")))
        thread.start()
        thread.join()
    assert named == ["--max-rows"]


def test_the_same_error_in_python_and_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(lw.RequestError) as error:
        lw.show("a", level="word", special_tokens=False)
    assert str(error.value).startswith("special_tokens=False only applies to level 'text'")
    assert main(["show", "a", "--level", "word", "--no-special-tokens"]) == 2
    assert "\nlayerwise: --no-special-tokens only applies to level 'text'" in capsys.readouterr().err
    assert not are_flags()
