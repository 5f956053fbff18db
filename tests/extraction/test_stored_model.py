"""The model of a dataset, loaded again: whether its own code is run must be as it was."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import layerwise as lw
from layerwise.errors import ModelError
from layerwise.extraction.untrained import untrained

CODE = """
from transformers import BertConfig, BertModel

class MyConfig(BertConfig):
    model_type = "FAMILY"

class MyModel(BertModel):
    config_class = MyConfig
"""


@pytest.mark.parametrize("family", ["bert", "mine"])  # transformers can load the first without the code
def test_a_dataset_made_with_the_code_of_a_model_names_the_argument(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = Path(shutil.copytree(model_folder("bert"), tmp_path / "model"))
    (folder / "mine.py").write_text(CODE.replace("FAMILY", family))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": family, "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "texts.txt").write_text("one text\nanother text\n")

    out = tmp_path / "with"
    dataset = lw.extract(tmp_path / "texts.txt", out, model=folder, device="cpu", trust_remote_code=True)
    assert lw.verify(out, device="cpu", trust_remote_code=True).ok
    with pytest.raises(ModelError, match="trust_remote_code=True"):
        lw.verify(out, device="cpu")
    with pytest.raises(
        ModelError, match="made with the code of model .*, which can't be run here; leave random_model=True"
    ):
        untrained(dataset, 0)
    if family == "bert":
        lw.extract(tmp_path / "texts.txt", tmp_path / "without", model=folder, device="cpu")
        with pytest.raises(
            ModelError, match="made with the code of .* isn't run; give trust_remote_code=True"
        ):
            lw.verify(out, device="cpu")
        with pytest.raises(
            ModelError, match="made without the code of .* is run; leave trust_remote_code out"
        ):
            lw.verify(tmp_path / "without", device="cpu", trust_remote_code=True)
