"""Where region proposals come from: the common RPN of thesis 3.2.3, and what it is compared with."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor
from typing_extensions import override

from lightning_modules.sparsedet.views import concatenated
from networks.detection.two_stage import Features, Proposals, averaged, rpn
from visionscapes.errors import UserError


class Proposing(Protocol):
    """A way to make the proposals of a batch."""

    def __call__(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any]
    ) -> tuple[dict[str, Tensor], Proposals]:
        """Return the losses of the RPN and the proposals to train on."""

    def inference(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any], rescale: bool = False
    ) -> Proposals:
        """Return the proposals to detect in, in pixels of the original pictures if ``rescale``."""


class CommonRPN(Proposing):
    """C-RPN: one RPN on the features of both views, side by side."""

    @override
    def __call__(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any]
    ) -> tuple[dict[str, Tensor], Proposals]:
        return rpn(detector, concatenated(f_o, f_a), samples)

    @override
    def inference(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any], rescale: bool = False
    ) -> Proposals:
        return detector.rpn_head.predict(concatenated(f_o, f_a), samples, rescale=rescale)


class OriginalRPN(Proposing):
    """An ordinary RPN on the picture itself, whose regions serve both views (table 3.4, row 6)."""

    @override
    def __call__(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any]
    ) -> tuple[dict[str, Tensor], Proposals]:
        return rpn(detector, f_o, samples)

    @override
    def inference(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any], rescale: bool = False
    ) -> Proposals:
        return detector.rpn_head.predict(f_o, samples, rescale=rescale)


class SeparateRPNs(Proposing):
    """An ordinary RPN on each view, whose regions are put together (section 3.5.2.4).

    Args:
        share: of each view's proposals, the most certain ones first.
    """

    def __init__(self, share: float):
        self.share = share

    @override
    def __call__(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any]
    ) -> tuple[dict[str, Tensor], Proposals]:
        (losses_o, regions_o), (losses_a, regions_a) = rpn(detector, f_o, samples), rpn(detector, f_a, samples)
        return averaged([losses_o, losses_a]), self.together(regions_o, regions_a)

    @override
    def inference(
        self, detector: Any, f_o: Features, f_a: Features, samples: Sequence[Any], rescale: bool = False
    ) -> Proposals:
        first, second = (detector.rpn_head.predict(f, samples, rescale=rescale) for f in (f_o, f_a))
        return self.together(first, second)

    def together(self, first: Proposals, second: Proposals) -> Proposals:
        """Return the best of both views' proposals for every picture."""
        from mmengine.structures import InstanceData

        return [InstanceData.cat([self._best(each) for each in pair]) for pair in zip(first, second, strict=True)]

    def _best(self, found: Any) -> Any:
        order = found.scores.argsort(descending=True, stable=True)
        return found[order[: math.ceil(self.share * len(order))]]


PROPOSALS: dict[str, Proposing] = {
    "common": CommonRPN(),
    "original": OriginalRPN(),
    "both": SeparateRPNs(1.0),
    "both_halved": SeparateRPNs(0.5),
}


def widened(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a detector's configuration with an RPN for the features of two views.

    It takes twice the channels and keeps that width inside, as Detectron2's RPN and so the official code do.

    Raises:
        UserError: the detector has no RPN or no box head.
    """
    wide = copy.deepcopy(dict(model))
    head = wide.get("rpn_head") or {}
    if "in_channels" not in head or "roi_head" not in wide:
        raise UserError(
            f"{wide.get('type')} has no RPN of anchors and no box head: SparseDet needs a detector of two stages, "
            "such as mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
        )
    width = 2 * int(head["in_channels"])
    wide["rpn_head"] = {**head, "in_channels": width, "feat_channels": width}
    return wide
