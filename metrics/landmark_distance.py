"""How far the landmarks of a generated mouth are from the true ones, and how much more they tremble."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, mean_estimate

MOUTH = slice(48, 68)  # of the 68 points of iBUG 300-W
OUTER_EYE_CORNERS = (36, 45)


class LandmarkDistance(Metric):
    """LMD and jitter of generated mouths, means over clips.

    Returns:
        ``compute`` gives "LMD" in pixels (thesis 6.2.2.1 after Chen et al., "Lip movements generation at a glance",
        ECCV 2018) and "jitter" to ``Estimate`` over clips: the mean second difference of the output's mouth less that
        of the truth's, in distances of the outer corners of the eyes per frame squared. It is above 0 where the output
        trembles more than the truth.
    """

    full_state_update = False
    samples: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen no clip.
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    @override
    def update(
        self, landmarks: Tensor, truth: Tensor, known: Tensor | None = None, video: Tensor | None = None
    ) -> None:
        """Add a clip.

        Args:
            landmarks: (T, 68, 2) xy in pixels of the generated frames.
            truth: (T, 68, 2) xy in pixels of the true ones.
            known: (T,) bool, frames in which all have a face; all if None.
            video: (T, 68, 2) of the video that was dubbed, whose head the output has, if ``truth`` is of another head:
                jitter is counted against it. None if they are the same.
        """
        known = torch.ones(len(truth), dtype=torch.bool, device=truth.device) if known is None else known
        distance = mouth_distances(landmarks, truth)[known].mean()
        video = truth if video is None else video
        jitter = second_difference(landmarks, known) - second_difference(video, known)
        self.samples.append(torch.stack([distance, jitter / eye_distances(video)[known].mean()]).float())

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the two estimates; clips that are too short for a figure do not count in it."""
        samples = dim_zero_cat(self.samples) if len(self.samples) else torch.zeros(0, device=self.device)
        distance, jitter = (column[~column.isnan()] for column in samples.double().reshape(-1, 2).T)
        return {"LMD": mean_estimate(distance), "jitter": mean_estimate(jitter)}


def mouth_distances(landmarks: Tensor, truth: Tensor) -> Tensor:
    """Return for each frame (T,) float64 the mean distance of the 20 points of the mouth, in pixels.

    Both sets (T, 68, 2) have their own mean over the 20 points subtracted: where the mouth is does not count.
    """
    first, second = (each[:, MOUTH].double() for each in (landmarks, truth))
    return (first - first.mean(1, keepdim=True) - second + second.mean(1, keepdim=True)).norm(dim=2).mean(1)


def second_difference(landmarks: Tensor, known: Tensor, points: slice = MOUTH) -> Tensor:
    """Return the mean length of x(t - 1) - 2 x(t) + x(t + 1) over some points and over frames.

    Args:
        landmarks: (T, 68, 2) xy in pixels.
        known: (T,) bool; only frames that are known together with both neighbours count.
        points: which of the 68, those of the mouth by default.

    Returns:
        Scalar float64, NaN if there is no such frame.
    """
    path = landmarks[:, points].double()
    bend = (path[:-2] - 2 * path[1:-1] + path[2:]).norm(dim=2).mean(1)
    return bend[known[:-2] & known[1:-1] & known[2:]].mean()


def eye_distances(landmarks: Tensor) -> Tensor:
    """Return the distance (T,) float64 of the outer corners of the eyes of landmarks (T, 68, 2), in pixels."""
    left, right = OUTER_EYE_CORNERS
    return (landmarks[:, left].double() - landmarks[:, right].double()).norm(dim=1)
