"""What weights say of their training, in checkpoints and in files of the weights alone, and whether it fits a model."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from lightning_modules.method import Method
from networks.weights import read_metadata, read_values

DRAWN = "trained_on_drawn"  # the name of the attribute in checkpoints and files
DRAWN_ONLY = "the network knows drawn faces only: real ones will not look right"


class KnowsOrigin(Method):
    """Base of methods for faces, whose weights say what they were trained on; it stands before the other bases.

    Attributes:
        trained_on_drawn: whether the training faces were drawn ones; None if nothing is known.
    """

    trained_on_drawn: bool | None = None

    @abstractmethod
    def built_for(self) -> dict[str, Any]:
        """Return what weights have to be trained on to fit this model, by name: numbers, lists of them, or words."""

    @abstractmethod
    def check_origin(self, told: Mapping[str, Any]) -> None:
        """Compare what weights say with what the model is built for; what they do not say is not compared.

        Args:
            told: by the names of `built_for`, as it is there or in words; other names may be among them.

        Raises:
            UserError: the weights were trained on something else.
        """

    @property
    def cautions(self) -> list[str]:
        """What a user has to know of the training who is given a result, a line each."""
        return [DRAWN_ONLY] * bool(self.trained_on_drawn)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint |= {DRAWN: self.trained_on_drawn, **self.built_for()}

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read what is not in the weights.

        Raises:
            UserError: the checkpoint's networks were trained on something else.
        """
        super().on_load_checkpoint(checkpoint)
        self.know_origin(checkpoint)

    def backbone_options(self) -> dict[str, str]:
        """Return what a file of the weights alone has to say of its training, for `know_origin`."""
        return {name: in_words(value) for name, value in {DRAWN: self.trained_on_drawn, **self.built_for()}.items()}

    def know_origin(self, told: Mapping[str, Any]) -> None:
        """Take what a checkpoint or a file of weights says of their training, nothing if it says nothing.

        Args:
            told: by the names of `backbone_options`; other names may be among them.

        Raises:
            UserError: the weights were trained on something else than the model is built for.
        """
        self.check_origin(told)
        self.trained_on_drawn = {"True": True, "False": False}.get(str(told.get(DRAWN)))


def in_words(value: Any) -> str:
    """Return a value as the header of a file has it: of a list the items with spaces between them."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def told_by_file(path: str) -> dict[str, Any]:
    """Return what a file of weights says of their training, see `KnowsOrigin.know_origin`.

    Args:
        path: of a checkpoint or of a file of the weights alone.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    return read_values(path) or read_metadata(path)
