"""The features of a picture and of its augmented second view (thesis 3.2.2 and 3.2.3)."""

from collections.abc import Mapping
from typing import Any

import torch

from networks.detection.samples import preprocess, to_samples
from networks.detection.two_stage import Features
from visionscapes.errors import UserError

NO_SECOND_VIEW = (
    "the method compares two views of a picture: give the data a second view, "
    "--data.init_args.second_view=datamodules.SecondView"
)


class SeesTwoViews:
    """What detectors share that see two views: their data have to have them."""

    def check_data(self, data: Any) -> None:
        """Check that the data give second views.

        Args:
            data: a datamodule; what it does not say is not checked.

        Raises:
            UserError: they give none.
        """
        if getattr(data, "second_view", self) is None:
            raise UserError(NO_SECOND_VIEW)


def two_views(detector: Any, batch: Mapping[str, Any], training: bool) -> tuple[Features, Features, list[Any]]:
    """Return the features f_o and f_a of a batch's pictures and of their second views (thesis 3.2.2), in one pass.

    Args:
        detector: of mmdet.
        batch: see ``datamodules.detection.samples``, with "second_view".
        training: whether to augment batches, where the detector's configuration does.

    Returns:
        The features of both, and mmdet's samples of the B pictures.

    Raises:
        UserError: the batch has no second view.
    """
    if "second_view" not in batch:
        raise UserError(NO_SECOND_VIEW)
    pictures, count = [*batch["image"], *batch["second_view"]], len(batch["image"])
    inputs, samples = preprocess(detector, pictures, to_samples(batch) * 2, training)
    features = detector.extract_feat(inputs)
    return tuple(level[:count] for level in features), tuple(level[count:] for level in features), samples[:count]


def concatenated(first: Features, second: Features) -> Features:
    """Return the features of two views side by side on the channels (thesis 3.2.3)."""
    return tuple(torch.cat(pair, 1) for pair in zip(first, second, strict=True))
