"""Views of an image that are compared with one another."""

from collections.abc import Mapping
from typing import Any

from visionscapes.errors import UserError


def compared_views(batch: Mapping[str, Any], module: str) -> Any:
    """Return the views of a batch, of which there have to be two or more.

    Args:
        batch: with "views" (``datamodules.images.views.Views``).
        module: name of the class that compares them.

    Raises:
        UserError: there is one view of an image.
    """
    views = batch["views"]
    if len(views.images) < 2:
        raise UserError(
            f"{module} compares views of an image, and the data give one of each: raise --data.views.large_views"
        )
    return views
