"""Whether the classes of data are those that a classifier has outputs for."""

import logging
from typing import Any

from typing_extensions import override

from lightning_modules.method import Method
from visionscapes.errors import UserError
from visionscapes.processes import is_first

log = logging.getLogger(__name__)
SHOWN = 5


def check_classes(classes: int, data: Any) -> None:
    """Check the number of classes before a training; what data do not say is not checked.

    Args:
        classes: outputs of the model.
        data: a datamodule, which may have ``class_names``.

    Raises:
        UserError: the data have more. That they have fewer is told.
    """
    names: list[str] = getattr(data, "class_names", [])
    if not names or len(names) == classes:
        return
    shown = ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
    remedy = f"set --model.init_args.classes={len(names)}"
    if len(names) > classes:
        raise UserError(f"the data have {len(names)} classes ({shown}) and the model {classes} outputs: {remedy}")
    if is_first():
        log.warning("the data have %d classes (%s), fewer than the model's %d: %s", len(names), shown, classes, remedy)


def check_same_classes(trained: list[str], data: Any) -> None:
    """Check before a test that labels count the classes of the training; what either does not say is not checked.

    Args:
        trained: names of the classes, by label.
        data: a datamodule, which may have ``class_names``.

    Raises:
        UserError: they count others.
    """
    names = list(getattr(data, "class_names", []))
    if trained and names and names != trained:
        shown = [", ".join(each[:SHOWN]) + ", ..." * (len(each) > SHOWN) for each in (trained, names)]
        raise UserError(
            f"the network was trained on the classes {shown[0]}, and the data have {shown[1]}, so that labels would be "
            "compared with the outputs of other classes: give data with the same classes in the same order"
        )


class KnownClasses(Method):
    """A classifier that keeps the names of the classes that it was trained on, and refuses a test on others."""

    classes: int
    class_names: list[str]  # of the training, by label; empty where the data did not say

    @override
    def on_fit_start(self) -> None:
        """Compare the classes of the data with the outputs.

        Raises:
            UserError: there are more classes than outputs.
        """
        data = getattr(self.trainer, "datamodule", None)
        check_classes(self.classes, data)
        self.class_names = list(getattr(data, "class_names", []))

    @override
    def on_test_start(self) -> None:
        """Compare the classes of the data with those of the training.

        Raises:
            UserError: they are others.
        """
        check_same_classes(getattr(self, "class_names", []), getattr(self.trainer, "datamodule", None))

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the names of the classes."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["class_names"] = list(getattr(self, "class_names", []))

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the names of the classes; those of earlier versions have none."""
        super().on_load_checkpoint(checkpoint)
        self.class_names = list(checkpoint.get("class_names", []))
