"""LiFT: a self-supervised upsampler for the features of a frozen ViT (thesis chapter 8)."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.aggregation import MeanMetric
from typing_extensions import override

from lightning_modules.lift.exporting import lifted
from lightning_modules.lift.loss import DISTANCES, DOWNSCALES
from lightning_modules.method import Method
from networks.cells import Cells
from networks.companion import Companion
from networks.dense import AtLargerImage, Upsampled
from networks.frozen import Frozen
from networks.lift_block import STEM, LiFTBlock, Lifted, load_block
from networks.vit_features import ViTFeatures
from networks.weights import weights_total
from visionscapes.checks import NonNegativeInt, PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable

Views = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class LiFT(Method):
    """Trains a LiFT block to predict, from the features of a shrunken image, those of the image itself (Eq. 8.1).

    Batches are dictionaries with "task" "images" and "image" (B, 3, H, W) float32 RGB in [0, 1], and "frozen" where
    ``callbacks.FrozenFeatures`` knows the images' ``views`` already. Checkpoints hold the block and not the frozen
    backbone, of which they keep a fingerprint.

    Args:
        backbone: the frozen ViT whose features are lifted.
        distance: between features (thesis 8.2.3 and table 8.9).
        use_image: whether the block sees the image (table 8.9).
        downscale: how the image is shrunken to 1/2 and 1/4: "antialias" resizes, which is what thesis 8.2.3 says;
            "decimate" keeps every 2nd and 4th pixel, which is what the official code does.
        lr: learning rate of Adam, constant (thesis 8.2.4).
        weights: file with weights of the block, ours or the authors', to start from or to evaluate. May come from a
            block trained on another backbone (table 8.7).
        stem: channels that the block makes of the image, see `networks.lift_block.LiFTBlock`.
        stem_blocks: further convolutions of the image, for larger ViTs (thesis 8.7.2).

    Raises:
        UserError: ``lr`` is not positive, or ``weights`` cannot be read or does not fit.
    """

    gives = "lifted features (C, 2h, 2w) float32, twice as fine as the ViT's grid"
    given_networks = ("backbone",)

    def __init__(
        self,
        backbone: ViTFeatures,
        distance: Literal["cosine", "l1", "l2"] = "cosine",
        use_image: bool = True,
        downscale: Literal["antialias", "decimate"] = "antialias",
        lr: PositiveFloat = 1e-3,
        weights: str | None = None,
        stem: PositiveInt = STEM,
        stem_blocks: NonNegativeInt = 0,
    ):
        check_options(LiFT, locals())
        super().__init__()
        self.save_hyperparameters(ignore=["backbone"])
        self.distance, self.downscale, self.lr = DISTANCES[distance], DOWNSCALES[downscale], lr
        self.backbone = backbone
        size = {"use_image": use_image, "stem": stem, "stem_blocks": stem_blocks}
        self.block = _block_for(backbone, size)
        if weights is not None:
            load_block(self.block, weights)
        # self.log(..., sync_dist=True) would round the mean number of samples a process down (Lightning 2.6).
        self.mean_loss, self.mean_bilinear = MeanMetric(), MeanMetric()
        # Kept out of the module's parameters: only a yardstick for the evaluation.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._untrained = Companion(_block_for(backbone, size))

    @override
    def on_predict_start(self) -> None:
        """Refuse to write features of an untrained block.

        Raises:
            UserError: nothing was trained or loaded.
        """
        fresh = self.trainer.ckpt_path is None and self.trainer.global_step == 0 and not self.loaded
        if fresh and self.hparams["weights"] is None:
            raise UserError(
                "this LiFT block is untrained: train one first (python cli.py fit --config configs/lift.yaml), or give "
                "--ckpt_path <checkpoint> or --model.weights <file>"
            )

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self.reconstruction(batch.get("frozen") or self.views(batch["image"]))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch["task"] == "images":
            self._log_held_out(batch, "val")

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch["task"] == "images":
            self._log_held_out(batch, "test")

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the lifted features (B, C, 2h, 2w) of ``batch["image"]``."""
        return Lifted(self.backbone, self.block)(batch["image"])

    def check_image(self, height: int, width: int) -> None:
        """Check that an image of this size in pixels has features.

        Raises:
            UserError: it is smaller than a patch of the ViT, or of a size that this ViT does not take.
        """
        self.backbone.grid(height, width)

    def cells(self) -> Cells:
        """Return where the cells of the lifted features lie in any image; see ``networks.cells``."""
        return Lifted(self.backbone, self.block).cells()

    def lift(self, features: Tensor, image: Tensor) -> Tensor:
        """Return features (B, C, h, w) of an image (B, 3, H, W) in [0, 1] on the grid (2h, 2w): Theta of Eq. 8.1."""
        return self.block(features, self.backbone.normalise(image))

    def views(self, x: Tensor) -> Views:
        """Return images x (B, 3, H, W) in [0, 1] at 1/2 and 1/4 and, before them, the frozen features of all three.

        Returns:
            f (B, C, h, w), f_half, f_quarter, x_half (B, 3, H / 2, W / 2), x_quarter.
        """
        x_half, x_quarter = self.downscale(x, 2), self.downscale(x, 4)
        with torch.no_grad():
            return self.backbone(x), self.backbone(x_half), self.backbone(x_quarter), x_half, x_quarter

    def frozen(self) -> Frozen:
        """Return the views: all that a step asks of an image before the block."""
        return Frozen(self.views, (self.backbone,), (self.hparams["downscale"],))

    def reconstruction(self, views: Views, upsample: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
        """Return the objective of Eq. 8.1.

        Args:
            views: of the images x at the largest of the three sizes, see ``views``.
            upsample: what stands for Theta: (features, image) to features on a grid twice as fine; ``lift`` if None.
        """
        theta = upsample or self.lift
        f, f_half, f_quarter, x_half, x_quarter = views

        def d(target: Tensor, prediction: Tensor) -> Tensor:
            return self.distance(*_common(prediction, target))

        return d(f, theta(f_half, x_half)) + d(f_half, theta(f_quarter, x_quarter))  # Eq. 8.1

    def dense_features(self) -> dict[str, nn.Module]:
        """Return what LiFT is compared with, and LiFT (tables 8.2, 8.8, 8.9)."""
        return {
            "base": self.backbone,
            "bilinear": Upsampled(self.backbone),
            "random LiFT": Lifted(self.backbone, self._untrained.network),
            "LiFT": Lifted(self.backbone, self.block),
            "2x LiFT": Lifted(self.backbone, self.block, times=2),
            "ViT at 2S": AtLargerImage(self.backbone),
        }

    def exportable(self) -> list[Exportable]:
        """Return the network to export: images to lifted features, normalising inside."""
        return [lifted(self.backbone, self.block)]

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with default betas, no weight decay and a constant rate (official code; thesis 8.2.4)."""
        return torch.optim.Adam(self.block.effective_parameters(), lr=self.lr)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen backbone out; keep its fingerprint."""
        super().on_save_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if not key.startswith("backbone.")}
        checkpoint["backbone"] = fingerprint(self.backbone)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the backbone's own weights beside the block's.

        Raises:
            UserError: the checkpoint is of another method, or was made with another backbone.
        """
        if "backbone" not in checkpoint:
            raise UserError(
                "this checkpoint is of another method, it holds no LiFT block: give one that a LiFT run saved"
            )
        own = fingerprint(self.backbone)
        if {"blocks": own["blocks"]} | checkpoint["backbone"] != own:  # earlier ones do not say what blocks add up to
            raise UserError(
                "this checkpoint's LiFT block was trained on another backbone than the one configured; configure that "
                "one, or to try the block on this one on purpose give the checkpoint as --model.weights"
            )
        frozen = {f"backbone.{key}": value for key, value in self.backbone.state_dict().items()}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **frozen}

    def _log_held_out(self, batch: dict[str, Any], stage: str) -> None:
        """Log the objective, and that of bilinear interpolation in LiFT's place, on images not trained on."""
        views = batch.get("frozen") or self.views(batch["image"])
        losses = self.reconstruction(views), self.reconstruction(views, _bilinear)
        means = self.mean_loss, self.mean_bilinear
        for name, mean, loss in zip(("loss", "loss_bilinear"), means, losses, strict=True):
            mean.update(loss, weight=len(views[0]))
            self.log(f"{stage}/{name}", mean, add_dataloader_idx=False, prog_bar=True)


def fingerprint(backbone: ViTFeatures) -> dict[str, Any]:
    """Return plain values that tell one backbone's features from another's."""
    return {
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "weights": weights_total(backbone),
        "blocks": weights_total(backbone.vit.blocks),  # all that a detector keeps of it
        "layer": backbone.layer,
        "facet": backbone.facet,
    }


def _block_for(backbone: ViTFeatures, size: Mapping[str, Any]) -> LiFTBlock:
    return LiFTBlock(backbone.dim, backbone.patch_size, backbone.stride, **size)


def _bilinear(features: Tensor, image: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def _common(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps cut to the cells they share.

    Where the image's sides are no multiples of 4 patches, shrinking rounds the grids differently, by a cell at most.
    """
    h, w = (min(a, b) for a, b in zip(prediction.shape[-2:], target.shape[-2:], strict=True))
    return prediction[..., :h, :w], target[..., :h, :w]
