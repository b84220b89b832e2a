"""Gen2Det: a detector trained on real and on generated pictures, whose faults do no harm (thesis chapter 7)."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.detector import Detector
from lightning_modules.gen2det.hardness import instance_losses
from lightning_modules.gen2det.loss import Ignored, Normalizer, background_ignored, check_heads
from lightning_modules.gen2det.masks import check_masks, masks_left_out
from visionscapes.checks import PositiveInt, Share, check_options
from visionscapes.errors import UserError


class Gen2Det(Detector):
    """Trains a detector of mmdet on batches of real pictures and batches of generated ones (thesis 7.2.4).

    Batches are those of ``datamodules.detection.samples``; "synthetic", B x bool, says which pictures were generated.
    Which batches are, and how many, is the data module's business. On generated pictures background is left out of the
    loss where the detector takes it for an object, for it may be an object whose annotation was filtered away or that
    nobody asked the generator for, and masks are not trained, for nobody knows them. Real batches are trained on as by
    `Detector`.

    Args:
        config: of a detector, see `Detector`; with ``tau_i`` its heads have to be an RPN, RoI heads, or those of
            RetinaNet, FCOS, ATSS, GFL or CenterNet.
        num_classes: of the data set; as in ``config`` if None.
        overrides: changes of the model's configuration.
        weights: file with weights of the whole detector.
        backbone_weights: file with weights of its backbone.
        optimizer: "sgd" with momentum 0.9, or "adamw".
        lr: learning rate.
        weight_decay: of all trained parameters.
        warmup_steps: over which the rate rises.
        milestones: steps at which the rate is divided by 10; along a cosine if None.
        clip: largest norm of the gradient; no limit if None.
        tau_i: score of being an object above which background of generated pictures is ignored (7.2.4); 0 ignores all
            of it, as the thesis does (7.3.1, table 7.12), None none of it.
        normalizer: what a box head divides its loss of generated pictures by, "sampled" or "kept", see
            `background_ignored`. The thesis does not say. With "kept", where most is ignored, an object weighs several
            times as much as in a real picture.

    Raises:
        UserError: as `Detector`; a detector whose background cannot be ignored, or whose masks cannot be left out.
    """

    def __init__(
        self,
        config: str,
        num_classes: PositiveInt | None = None,
        *,
        tau_i: Share | None = 0.0,
        normalizer: Normalizer = "sampled",
        **kwargs: Any,
    ):
        check_options(Gen2Det, locals())
        super().__init__(config, num_classes, **kwargs)
        self.tau_i, self.normalizer = tau_i, normalizer
        check_masks(self.detector)
        if tau_i is not None:
            check_heads(self.detector)

    @override
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the detector's losses; of generated pictures without masks and without ignored background.

        Raises:
            UserError: a batch has real and generated pictures, of which only the latter's background is to be ignored.
        """
        generated = batch.get("synthetic", [False])
        if not any(generated):
            return super().losses(batch)
        if not all(generated):
            return self._of_both(batch)
        with masks_left_out(self.detector) as untrained:
            losses = self._ignoring(batch)
        return losses if untrained is None else losses | {"loss_mask": untrained}

    def annotated_losses(self, batch: dict[str, Any]) -> list[Tensor]:
        """Return what each annotated object of a batch costs the detector as it is, B x (N,), see `instance_losses`."""
        return instance_losses(self.detector, batch["image"], batch["boxes"], batch["labels"])

    def _ignoring(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        if self.tau_i is None:
            return super().losses(batch)
        with background_ignored(self.detector, self.tau_i, self.normalizer) as left_out:
            losses = super().losses(batch)
        return losses | {"ignored_background": ignored_share(left_out)}

    def _of_both(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        if self.tau_i is None:
            return super().losses(batch)
        raise UserError(
            "a batch has real and generated pictures, and background is ignored in generated ones: give "
            "--data.synthetic.mixing=sampling, by which a batch is of one kind, or --model.tau_i=null"
        )


def ignored_share(left_out: list[Ignored]) -> Tensor:
    """Return which share of the background was left out of all losses of a step, a scalar in [0, 1]."""
    ignored, background = (torch.stack(each).sum() for each in zip(*left_out, strict=True))
    return ignored / background.clamp(min=1)
