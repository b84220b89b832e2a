"""Whether a classifier has an output for every class of its data."""

import logging
from typing import Any

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
