"""A frozen detector that says which objects it finds hard, for pictures to be drawn towards (thesis 9.1.1)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from lightning_modules.detector import Detector
from lightning_modules.gen2det.hardness import box_stages, instance_losses
from networks.frozen import Frozen
from networks.guidance import Guidance, Guide
from visionscapes.checks import check_options
from visionscapes.errors import UserError
from visionscapes.loading import load

TRAIN_ONE = (
    "give --model.guide=<run folder or checkpoint> of one that was trained on the real pictures, such as by python "
    "cli.py fit --config configs/detector.yaml"
)


class DetectorGuide(Guide):
    """Says what objects cost a detector that was trained on real pictures alone, which stays as it is.

    Args:
        detector: run folder or checkpoint of a detector of two stages.
        guidance: how samples follow it.

    Raises:
        UserError: there is no detector, or it cannot be asked what a single object costs.
    """

    def __init__(self, detector: str, guidance: Guidance = Guidance()):
        check_options(DetectorGuide, locals())
        super().__init__()
        loaded = load(detector, "cpu")
        if not isinstance(loaded.module, Detector):
            raise UserError(f"{detector} holds {type(loaded.module).__name__}, which is no detector: {TRAIN_ONE}")
        self.detector, self.guidance = loaded.source, guidance
        box_stages(loaded.module.detector)
        self.judge = loaded.module.requires_grad_(False).eval()
        self.classes = [str(each["name"]) for each in self.judge.categories] or list(
            getattr(loaded.inputs, "classes", None) or []
        )
        self.sides = loaded.inputs.size, loaded.inputs.longest

    @property
    @override
    def options(self) -> dict[str, Any]:
        """The options, and a digest of the detector, without which nobody could tell whether it is still the same."""
        return super().options | {"digest": self._digest()}

    @override
    def train(self, mode: bool = True) -> "DetectorGuide":
        """Stay in evaluation mode, whatever mode a module around it is put into."""
        return super().train(False)

    @override
    def forward(self, image: Tensor, boxes: Tensor, names: tuple[str, ...]) -> Tensor:
        """Return the loss (N,) of each object, see `Guide`.

        Raises:
            UserError: the detector does not know a class.
        """
        if unknown := [name for name in names if name not in self.classes]:
            raise UserError(
                f"the detector of {self.detector} does not know {unknown[0]!r}, which is to be drawn: {TRAIN_ONE}"
            )
        labels = torch.tensor([self.classes.index(name) for name in names], device=boxes.device)
        shorter, longest = self.sides
        factor = min(shorter / min(image.shape[1:]), longest / max(image.shape[1:]))
        if factor != 1:
            image = F.interpolate(image[None], scale_factor=factor, mode="bilinear", antialias=True)[0]
        return instance_losses(self.judge.detector, [255 * image], [factor * boxes], [labels])[0]

    def _digest(self) -> str:
        return Frozen(compute=lambda images: (images,), networks=(self.judge.detector,)).digest()
