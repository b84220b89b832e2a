"""A detector of mmdet's collection, trained in the plain way; the base of the methods that train one otherwise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from typing_extensions import override

from lightning_modules.detector_config import kept_config, with_config, without_start_files
from lightning_modules.detector_exporting import exported_detector
from lightning_modules.method import MADE_OF, Method
from lightning_modules.schedule import cosine_schedule
from networks.detection.absent_masks import passes_over_absent_masks
from networks.detection.build import build_detector, set_progress
from networks.detection.federated_loss import FederatedLoss, set_frequencies
from networks.detection.samples import learns_masks, predictions_of, preprocess, proposals_of, to_samples, with_area
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable
from visionscapes.results import DetectedObjects

CATEGORIES = "categories"  # in checkpoints
ON_CPU = ("size", "with_mask")  # of a batch


class Detector(Method):
    """Trains any detector of mmdet on batches of ``datamodules.detection.samples``, without mmengine's Runner.

    Checkpoints keep the names of the classes, so that predictions have them where the training data are not at hand.

    Args:
        config: of the detector: "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py" for one of mmdet's collection, or
            the path of an mmengine configuration.
        num_classes: of the data set; as in ``config`` if None.
        overrides: changes of the model's configuration, {"backbone.depth": 18}.
        weights: file with weights of the whole detector.
        backbone_weights: file with weights of its backbone.
        optimizer: "sgd" with momentum 0.9, or "adamw".
        lr: learning rate.
        weight_decay: of all trained parameters.
        warmup_steps: over which the rate rises linearly from a thousandth of ``lr``.
        milestones: steps at which the rate is divided by 10; along a cosine to 1 % over the training if None.
        clip: largest norm of the gradient; no limit if None.

    Attributes:
        categories: {"id", "name"} of every label as the training data have them; none before training, and of
            checkpoints that did not keep them.

    Raises:
        UserError: a configuration that is not there or cannot be built, weights that do not fit, ``lr`` not positive.
    """

    takes = "datamodules.detection.given.GivenScenes"
    gives = "DetectedObjects: boxes, scores, labels and names"

    def __init__(
        self,
        config: str,
        num_classes: PositiveInt | None = None,
        overrides: dict[str, Any] | None = None,
        weights: str | None = None,
        backbone_weights: str | None = None,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        lr: PositiveFloat = 0.01,
        weight_decay: NonNegativeFloat = 1e-4,
        warmup_steps: NonNegativeInt = 1000,
        milestones: list[NonNegativeInt] | None = None,
        clip: PositiveFloat | None = None,
    ):
        check_options(Detector, locals())
        super().__init__()
        self.save_hyperparameters()
        self.optimizer, self.lr, self.weight_decay = optimizer, lr, weight_decay
        self.warmup_steps, self.milestones, self.clip = warmup_steps, milestones, clip
        self.categories: list[dict[str, Any]] = []
        self.detector = self.build(config, overrides, num_classes, weights, backbone_weights)
        self._kept_config = kept_config(config)

    def build(self, config: str, overrides: dict[str, Any] | None, *args: Any) -> Any:
        """Return the detector that this method trains."""
        return build_detector(config, overrides, *args)

    # Height and width in pixels of what is exported for one size only; ``python cli.py export --size``.
    export_size: tuple[int, int] = (640, 640)

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the detector tells apart, where it says so in the usual place."""
        head = getattr(self.detector, "roi_head", self.detector)
        box_head = getattr(head, "bbox_head", None)
        return getattr(box_head[-1] if isinstance(box_head, torch.nn.ModuleList) else box_head, "num_classes", None)

    @override
    def on_fit_start(self) -> None:
        """Check that detector and data agree on the number of classes; learn their names, and how frequent they are."""
        self._check_classes()
        known = getattr(getattr(self.trainer, "datamodule", None), "categories", None)
        self.categories = list(known or self.categories)
        counts = getattr(getattr(self.trainer, "datamodule", None), "pictures_by_class", None)
        if counts is not None and any(isinstance(module, FederatedLoss) for module in self.modules()):
            set_frequencies(self.detector, counts().tolist())

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what classes are called, and the content of the configuration, whose file may be gone one day."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[MADE_OF] |= self._kept_config
        if self.categories:
            checkpoint[CATEGORIES] = self.categories

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.categories = list(checkpoint.get(CATEGORIES, []))

    @override
    def on_validation_start(self) -> None:
        """Check that detector and data agree on the number of classes."""
        self._check_classes()

    @override
    def on_test_start(self) -> None:
        """Check that detector and data agree on the number of classes."""
        self._check_classes()

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        set_progress(self.global_step, self.current_epoch)
        return self.total(self.losses(batch), batch)

    @override
    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave on the CPU what is read as numbers, such as the sizes of the pictures, so that no GPU is waited for."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved | {key: batch[key] for key in ON_CPU if key in batch} if isinstance(batch, dict) else moved

    # Lightning hands to callbacks whatever these return; its types know tensors and mappings only.
    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:  # type: ignore[override]
        """Return the detections, see `predict_step`."""
        return self.predict_step(batch, batch_idx)

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:  # type: ignore[override]
        """Return the detections, see `predict_step`."""
        return self.predict_step(batch, batch_idx)

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return the detections of every picture.

        Returns:
            "boxes" (M, 4) float32 xyxy in pixels of the original picture, "scores" (M,) descending, "labels" (M,) and,
            if the detector segments, "masks", M compressed RLE.
        """
        inputs, samples = self.inputs(batch, training=False)
        return predictions_of(self.detector.predict(inputs, samples, rescale=True))

    @override
    def answers(self, batch: dict[str, Any]) -> list[DetectedObjects]:
        """Return the objects of every picture; ``batch["classes"]`` has names of classes if the module knows none.

        Boxes without area, which detectors give at the border of a picture, are left out.
        """
        classes = [each["name"] for each in self.categories] or batch.get("classes")
        return [_as_objects(with_area(found)[0], classes) for found in self.predict_step(batch, 0)]

    def proposals(self, batch: dict[str, Any]) -> list[dict[str, Tensor]]:
        """Return the region proposals, in pixels of the original pictures.

        Raises:
            UserError: the detector makes no proposals.
        """
        if not hasattr(self.detector, "rpn_head"):
            raise UserError(
                f"{type(self.detector).__name__} makes no region proposals: leave out the callback that asks for them, "
                "or choose a two-stage detector such as mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
            )
        inputs, samples = self.inputs(batch, training=False)
        features = self.detector.extract_feat(inputs)
        return proposals_of(self.detector.rpn_head.predict(features, samples, rescale=True))

    def exportable(self) -> list[Exportable]:
        """Return what of the detector is exported, see ``lightning_modules.detector_exporting``."""
        return exported_detector(self.detector, self.export_size, self.categories)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the detector's own losses by name, those of the same name over its levels summed.

        Raises:
            UserError: the detector segments and the batch has no masks to learn from.
        """
        if learns_masks(self.detector) and "masks" not in batch:
            raise UserError(
                f"{type(self.detector).__name__} learns masks, which the batch has not: give "
                "--data.init_args.with_masks=true, or choose a detector of boxes"
            )
        inputs, samples = self.inputs(batch, training=True)
        return summed(self.detector.loss(inputs, samples))

    def inputs(self, batch: dict[str, Any], training: bool) -> tuple[Tensor, list[Any]]:
        """Return a batch as the detector takes it: pictures (B, 3, H, W) and mmdet's samples.

        Raises:
            UserError: it is not a batch of pictures to detect objects in.
        """
        if "size" not in batch:
            raise UserError(
                f"{type(self).__name__} detects objects in pictures that come with their sizes, which these data do "
                "not give: name your pictures as --data.init_args.pictures of a datamodule for detection, such as "
                "--data=datamodules.DetectionScenes"
            )
        boxes_alone = passes_over_absent_masks(self.detector)
        if (
            learns_masks(self.detector)
            and not boxes_alone
            and not all(each.all() for each in batch.get("with_mask", ()))
        ):
            rank_zero_warn(  # which is shown once
                f"{type(self.detector).__name__} cannot learn the boxes of objects without a mask: they are ignored"
            )
        samples = to_samples(batch, with_masks=learns_masks(self.detector), boxes_alone=boxes_alone)
        return preprocess(self.detector, batch["image"], samples, training)

    def total(self, losses: Mapping[str, Tensor], batch: Mapping[str, Any]) -> Tensor:
        """Log losses and return the sum of those that are called so; others are figures to look at."""
        loss = torch.stack([value for name, value in losses.items() if "loss" in name]).sum()
        size = len(batch["image"])
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=size)
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        return loss

    @classmethod
    @override
    def restored(cls, options: dict[str, Any], made_of: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        return without_start_files(with_config(options, made_of))

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        parameters = [each for each in self.parameters() if each.requires_grad]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(parameters, lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)
        else:
            optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        steps = float(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int, steps: float) -> float:
        """Return the share of the learning rate at ``step`` of ``steps``."""
        if step < self.warmup_steps:
            return 0.001 + 0.999 * step / self.warmup_steps
        if self.milestones is None:
            return cosine_schedule(step, steps, self.warmup_steps)
        return 0.1 ** sum(step >= each for each in self.milestones)

    @override
    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Limit the norm of the gradient as the configuration asks for it, or else as the trainer does."""
        if self.clip is not None:
            gradient_clip_val, gradient_clip_algorithm = self.clip, "norm"
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    @property
    def replaces_trainer_options(self) -> dict[str, str]:
        """Options of the Trainer -> options of this module that do the same, where these are given."""
        return {} if self.clip is None else {"gradient_clip_val": f"--model.clip, which is {self.clip}, or null"}

    def _check_classes(self) -> None:
        classes = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        if classes is not None and self.num_classes is not None and self.num_classes != len(classes):
            raise UserError(
                f"the detector tells {self.num_classes} classes apart, the data have {len(classes)}: give "
                f"--model.init_args.num_classes={len(classes)}"
            )


def _as_objects(found: Mapping[str, Any], classes: Sequence[str] | None) -> DetectedObjects:
    labels = found["labels"].tolist()
    names = [f"class {label}" if classes is None else classes[label] for label in labels]
    return DetectedObjects(found["boxes"], found["scores"], found["labels"], names=names, masks=found.get("masks"))


def summed(losses: Mapping[str, Tensor | list[Tensor]]) -> dict[str, Tensor]:
    """Return mmdet's losses, which may be lists over levels, as one number each."""
    return {name: sum(value) if isinstance(value, list) else value.mean() for name, value in losses.items()}  # type: ignore[misc]
