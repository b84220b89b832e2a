"""The frozen networks that Diff2Lip learns from: a SyncNet, and one whose features tell how alike pictures are."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from networks.companion import Companion, as_in
from networks.feature_networks import LPIPS, SmallDistance
from networks.sync_network import SyncNetwork
from visionscapes.checks import check_options
from visionscapes.errors import UserError

LEAST_SIDE = {"small": 8, "vgg": 16, "alex": 31}  # pixels: a patch; four halvings; a stride of 4 and two of 2


@dataclass(frozen=True)
class ExpertOptions:
    """The frozen networks of the losses.

    Args:
        syncnet: file of a SyncNet, one that a run of `SyncNet` has left or one of Wav2Lip's; None without that loss.
        perceptual: "vgg" for LPIPS with VGG16 (6.2.1.3), "alex" with AlexNet as in the authors' code, or "small" for
            the distance in the small network of this repository, which is no LPIPS.
        perceptual_weights: of torchvision's VGG16 or AlexNet: the path of a file, or "download".

    Raises:
        UserError: an option out of its bounds.
    """

    syncnet: str | None = None
    perceptual: Literal["vgg", "alex", "small"] = "vgg"
    perceptual_weights: str = "download"

    def __post_init__(self) -> None:
        check_options(ExpertOptions, vars(self))

    def sync_expert(self) -> Companion:
        """Return the frozen SyncNet.

        Raises:
            UserError: no file is given, or it is none of a SyncNet.
        """
        if self.syncnet is None:
            raise UserError(
                "the sync loss asks a SyncNet, and none is given: give --model.experts.syncnet=<file>, such as "
                "weights/syncnet.safetensors for the embedded world, or --model.losses.lambda_sync=0"
            )
        with torch.random.fork_rng(devices=[]):  # what is trained draws the same numbers with and without it
            return Companion(SyncNetwork.from_file(self.syncnet))

    def perceptual_distance(self, shape: tuple[int, int]) -> Companion:
        """Return the distance (N,) of images (N, 3, h, w) in [0, 1].

        Args:
            shape: h and w.

        Raises:
            UserError: its weights cannot be had, or images are too small for it.
        """
        least = LEAST_SIDE[self.perceptual]
        if min(shape) < least:
            raise UserError(
                f"the perceptual loss {self.perceptual!r} takes images of {least} pixels or more, and the region of "
                f"the face has {shape[1]} x {shape[0]}: give a larger --model.region or --model.face_size, or "
                "--model.losses.lambda_perceptual=0"
            )
        return Companion(
            SmallDistance() if self.perceptual == "small" else LPIPS(self.perceptual_weights, self.perceptual)
        )


def sync_logits(expert: Companion, faces: Tensor, mel: Tensor) -> Tensor:
    """Return the logits (N,) of the probability that windows and sound fit, in the expert's own precision.

    That is float32 under autocast too.

    Args:
        expert: a SyncNet.
        faces: (N, 5, 3, S, S) in [0, 1], which gradients pass to.
        mel: (N, 80, 16).
    """
    with torch.autocast(faces.device.type, enabled=False):
        return expert.network.logit(expert(*as_in(expert, faces, mel)))
