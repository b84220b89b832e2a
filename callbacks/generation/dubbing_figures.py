"""What is measured of dubbed clips, summed up over them: lips against sound, landmarks, movement, opening."""

import warnings
from typing import Any

from torch import Tensor
from torchmetrics.wrappers.abstract import WrapperMetric
from typing_extensions import override

from metrics.estimate import Estimate
from metrics.image_means import ImageMeans
from metrics.landmark_distance import LandmarkDistance
from metrics.lip_sync import LipSync
from metrics.mouth_movement import MouthMovement
from metrics.mouth_readout import FIGURES

MESH = "mesh "  # begins the names of openings that MediaPipe's mesh has read
OPENING = [f"{prefix}{name}" for prefix in ("", MESH) for name in FIGURES]
# In the order of the columns of tables.
NAMES = (
    *("Sync_c", "Sync_d", "offset", "LMD", "jitter"),
    *OPENING,
    *("movement in silence", "movement in speech", "silence / speech"),
)


class DubbingFigures(WrapperMetric):
    """Figures of the clips of one method, each a metric that is added to where a clip has what it asks for.

    Returns:
        ``compute`` gives those of ``NAMES`` that at least one clip has to ``Estimate`` over clips.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lips, self.landmarks, self.movement = LipSync(), LandmarkDistance(), MouthMovement()
        self.opening = ImageMeans(OPENING)

    @override
    def update(self, *_: Any, **__: Any) -> None:
        """Do nothing: clips are given to the metrics themselves."""

    def update_opening(self, figures: dict[str, Tensor], prefix: str = "") -> None:
        """Add what one way of reading says of a clip, see ``metrics.mouth_readout.dubbed_opening``."""
        self.opening.update({f"{prefix}{name}": value[None] for name, value in figures.items()})

    @override
    def compute(self) -> dict[str, Estimate]:
        metrics = (self.lips, self.landmarks, self.movement, self.opening)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The ``compute`` method of metric")  # that no clip had anything for
            figures: dict[str, Estimate] = {name: each for metric in metrics for name, each in metric.compute().items()}
        return {name: figures[name] for name in NAMES if figures[name][2]}
