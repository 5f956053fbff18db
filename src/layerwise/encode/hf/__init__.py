"""The only room that imports transformers and tokenizers: load, change and save models and their tokenizers.

transformers changes its names between versions, logs and draws progress bars while it loads, and raises whatever
error comes up in a damaged folder. All of that ends here: the other rooms see a `Loaded` model, which is a module of
torch, and a ModelError of one line. Files that are wrong in themselves are refused before transformers reads them
(`config_sizes`), and what it silently makes up for missing files is refused afterwards (`weights`, `tokenizer_checks`,
`limits`).
"""

import warnings
from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.encode.hf import saving  # noqa: F401

with warnings.catch_warnings():
    # tqdm warns in a notebook without ipywidgets, which would draw its bars; nothing here shows them.
    warnings.filterwarnings("ignore", "IProgress not found")
    import transformers  # noqa: F401

__getattr__ = submodules(__name__)
