"""How far the pose and expression of a generated head are from the true ones."""

import torch
from torch import Tensor

from metrics.landmark_distance import eye_distances

GROUPS = ("low", "medium", "high")


def keypoint_errors(landmarks: Tensor, truth: Tensor) -> Tensor:
    """Return the keypoint error of every head, whose mean over heads is NMKE (thesis 6.1.2).

    The thesis defers to Latent Pose Descriptors (Burkov et al., CVPR 2020) and Bi-layer (Zakharov et al., ECCV 2020),
    and the official code has none. Here it is the mean over the 68 points of ||p - q||, over the distance of the outer
    corners of the eyes of the truth. Where the head is counts: the target says it.

    Args:
        landmarks: (T, 68, 2) xy in pixels, in the order of iBUG 300-W.
        truth: (T, 68, 2) of the true pictures.

    Returns:
        (T,) float64; NaN where landmarks are.
    """
    return (landmarks.double() - truth.double()).norm(dim=2).mean(1) / eye_distances(truth)


def pose_differences(shots: Tensor, targets: Tensor) -> Tensor:
    """Return how far the pose and expression of each target are from those of the nearest shot.

    The difference of two heads is that of `keypoint_errors`, after the mean of their points has been subtracted from
    both: a head that only stands elsewhere is no other pose.

    Args:
        shots: (K, 68, 2) xy in pixels.
        targets: (T, 68, 2) of the same person.

    Returns:
        (T,) float64 in distances of the outer corners of the target's eyes.
    """
    shots, targets = (each.double() - each.double().mean(1, keepdim=True) for each in (shots, targets))
    distances = (targets[:, None] - shots[None]).norm(dim=3).mean(2)
    return distances.amin(1) / eye_distances(targets)


def thirds(values: Tensor) -> Tensor:
    """Return for each of N values the number of its ``GROUPS``: a third of them each, whatever their order."""
    if not len(values):
        return torch.zeros(0, dtype=torch.long, device=values.device)
    bounds = torch.quantile(values.double(), values.new_tensor([1 / 3, 2 / 3], dtype=torch.double))
    return (values.double()[:, None] > bounds).sum(1)
