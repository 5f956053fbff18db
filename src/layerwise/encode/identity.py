"""Which model rows come from: its name, and the hashes of its files, computed when they are needed."""

from functools import cached_property

from layerwise.encode.checkpoint import Checkpoint


class ModelIdentity:
    """The name and the hashes of a model; states keep it, without the model itself."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.name = checkpoint.name
        self._checkpoint = checkpoint

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of weights, tokenizer and configuration, which together identify the model.

        Raises:
            ModelError: the files have changed since they were loaded.
        """
        return self._checkpoint.hashes()
