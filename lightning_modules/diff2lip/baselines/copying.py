"""Copying the reference, the baseline that any method of table 6.4 has to be better than: nothing is trained."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.diff2lip.dubbing import DubbingModule, ReferenceFrame
from lightning_modules.diff2lip.experts import ExpertOptions
from lightning_modules.diff2lip.loss_options import LossOptions
from lightning_modules.diff2lip.masks import Mask
from lightning_modules.diff2lip.mouth_view import MouthView
from lightning_modules.diff2lip.sequence_discriminator import SequenceDiscriminatorOptions
from lightning_modules.diff2lip.windows import Frames
from networks.face_region import FaceRegion
from visionscapes.checks import ImageSize, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of

LEARNS_NOTHING = "Copying learns nothing: test it, python cli.py test, or take Diff2Lip or Wav2Lip to train"


class Copying(DubbingModule):
    """Gives faces the mouth of the reference frame, whatever is said.

    In the setting "reconstruction" that is the first frame over and over, in "cross" the video as it was. Batches are
    those of `DubbingModule`; it is tested and predicts without a checkpoint.

    Args:
        face_size: S, side of the faces in pixels.
        region: the part of a face in which the mouth is.
        mask: what is copied: the "lower" half of the region, or what lies below the nose by "landmarks".
        reference: in prediction, whose mouth is copied: that of the "input" frame, which changes nothing, or of the
            "first" of its video.

    Raises:
        UserError: an option out of its bounds, or a region without pixels; when it is to be trained.
    """

    def __init__(
        self,
        face_size: ImageSize = 128,
        region: FaceRegion = FaceRegion(),
        mask: Mask = "lower",
        reference: ReferenceFrame = "input",
    ):
        check_options(Copying, locals())
        view = MouthView(face_size, group_of(Copying, "region", region), mask)
        view.check(1)
        super().__init__(
            nn.Identity(),
            view,
            losses=LossOptions(lambda_l2=0.0, lambda_sync=0.0, lambda_perceptual=0.0, lambda_gan=0.0),
            experts=ExpertOptions(),
            discriminator=SequenceDiscriminatorOptions(),
            adversarial=AdversarialOptions(),
            optimizer=OptimizerOptions(),
            hardware=HardwareOptions(),
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.reference = reference

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit":
            raise UserError(LEARNS_NOTHING)
        super().setup(stage)

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Refuse: without this method Lightning would, in words of its own and before ``setup``.

        Raises:
            UserError: always.
        """
        raise UserError(LEARNS_NOTHING)

    @override
    def make(self, frames: Frames) -> Tensor:
        return frames.reference

    @override
    def on_predict_start(self) -> None:
        """Let it predict: there is nothing that could be trained."""
