"""What SparseDet is compared with, under the same detector: two views alone, pseudo labels, Co-mining."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from lightning_modules.detector import Detector
from lightning_modules.sparsedet.merging import merged
from lightning_modules.sparsedet.mining_quality import merge_quality
from lightning_modules.sparsedet.views import SeesTwoViews, two_views
from networks.detection.labelled import LabelledBoxes
from networks.detection.two_stage import (
    Features,
    averaged,
    detected,
    ground_truth,
    of_two_stages,
    plain_losses,
    relabelled,
)
from visionscapes.checks import NonNegativeInt, PositiveInt, Share, check_options


class TwoViewDetector(SeesTwoViews, Detector):
    """Plain training that sees both views: the control without which an augmentation's gain passes for a method's.

    Both views have the sparse annotations; the loss is the mean of both views' plain losses. Detects in the picture
    itself.
    """

    @override
    def build(self, *args: Any) -> Any:
        """Return the detector, if it is one of two stages."""
        return of_two_stages(super().build(*args))

    @override
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the detector's losses, averaged over the two views."""
        f_o, f_a, samples = two_views(self.detector, batch, training=True)
        return averaged([plain_losses(self.detector, features, samples) for features in (f_o, f_a)])


class _SelfLabelling(Detector):
    """Base of the methods that add the detector's own detections to the annotations.

    Args:
        config: of a two-stage detector, see `Detector`.
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
        threshold: score above which a detection becomes a label.
        start: steps before that.

    Raises:
        UserError: as `Detector`, or a threshold outside [0, 1].
    """

    def __init__(
        self,
        config: str,
        num_classes: PositiveInt | None = None,
        *,
        threshold: Share = 0.9,
        start: NonNegativeInt = 0,
        **kwargs: Any,
    ):
        check_options(_SelfLabelling, locals())
        super().__init__(config, num_classes, **kwargs)
        self.threshold, self.start = threshold, start

    @override
    def build(self, *args: Any) -> Any:
        """Return the detector, if it is one of two stages."""
        return of_two_stages(super().build(*args))

    def labels_from(self, features: Features, samples: Sequence[Any]) -> list[LabelledBoxes]:
        """Return the annotations and what the detector is sure of in these features."""
        annotated = ground_truth(samples)
        if self.global_step < self.start:
            return annotated
        was_training = self.detector.training
        self.detector.eval()
        try:
            found = detected(self.detector, features, samples)
        finally:
            self.detector.train(was_training)
        return [merged(own, new, self.threshold) for own, new in zip(annotated, found, strict=True)]


class PseudoLabels(_SelfLabelling):
    """Trains on the annotations and on what the detector itself is sure of in the same picture.

    The idea of Niitani et al. (2019), thesis [96], without their part-aware rules, and in one training instead of two,
    so that it takes as many steps as what it is compared with.
    """

    @override
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the detector's losses on the merged labels."""
        inputs, samples = self.inputs(batch, training=True)
        features = self.detector.extract_feat(inputs)
        targets = self.labels_from(features, samples)
        figures = merge_quality(targets, ground_truth(samples), batch)
        return plain_losses(self.detector, features, relabelled(samples, targets)) | figures


class CoMining(SeesTwoViews, _SelfLabelling):
    """Co-mining: what the detector is sure of in one view becomes a label of the other (Wang et al. 2021).

    The published method trains RetinaNet; here the labels serve both stages. Its two branches share their weights, as
    there; the threshold is an option because that of a focal loss says nothing about a softmax.
    """

    @override
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the detector's losses of both views, each on the other's labels, averaged."""
        f_o, f_a, samples = two_views(self.detector, batch, training=True)
        from_o, from_a = self.labels_from(f_o, samples), self.labels_from(f_a, samples)
        figures = merge_quality(from_o, ground_truth(samples), batch)
        views = [(f_o, from_a), (f_a, from_o)]
        losses = [plain_losses(self.detector, f, relabelled(samples, targets)) for f, targets in views]
        return averaged(losses) | figures
