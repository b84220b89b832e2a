import numpy as np
import pytest
import torch
from skimage import data
from torchvision.ops import box_iou as torchvision_iou

from datamodules.procedural.faces.faces import render_face
from networks.faces.detector import FaceDetector, anchors, box_iou, decode, shrink, weighted_suppression
from networks.faces.lite_model import packaged
from visionscapes.errors import UserError

KINDS = ("short_range", "full_range", "back")
EYES = [[203, 101], [246, 107]]  # of the astronaut, read off the picture


@pytest.mark.parametrize("kind", KINDS)
def test_the_face_of_a_photograph_is_found(kind: str) -> None:
    scores, points = FaceDetector(kind).detect(data.astronaut())
    assert len(scores) == 1
    assert scores[0] > 0.8
    assert np.abs(points[0, 2:4] - EYES).max() < 5
    x0, y0, x1, y1 = points[0, :2].ravel()
    assert np.abs(np.subtract([x0, y0, x1, y1], [175, 75, 275, 176])).max() < 12


@pytest.mark.parametrize("pad", [((0, 0), (300, 0), (0, 0)), ((0, 400), (0, 0), (0, 0))])
def test_pictures_that_are_not_square_keep_their_proportions(pad) -> None:
    image = data.astronaut()[:300, 50:350]
    _, points = FaceDetector("full_range").detect(np.pad(image, pad))
    shift = [50 - pad[1][0], 0]
    assert np.abs(points[0, 2:4] + shift - EYES).max() < 5


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_faces_are_found_and_noise_is_not(kind: str) -> None:
    detector = FaceDetector(kind)
    faces = [render_face(seed=0, index=index, size=128) for index in range(10)]
    middles = [detector.detect(face.image)[1][0, :2].mean(0) for face in faces]
    truth = [face.landmarks[27:48].mean(0) for face in faces]
    assert np.abs(np.subtract(middles, truth)).max() < 15
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert len(detector.detect(noise)[0]) == 0


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 500, 3), (500, 1, 3), (20, 20, 3)])
def test_tiny_and_thin_pictures_have_no_faces(shape: tuple[int, int, int]) -> None:
    scores, points = FaceDetector("short_range").detect(np.zeros(shape, np.uint8))
    assert scores.shape == (0,)
    assert points.shape == (0, 8, 2)


def test_anchors_are_the_middles_of_cells_coarser_grids_last() -> None:
    grid = anchors(128, 896)
    assert grid[:3].tolist() == [[4, 4], [4, 4], [12, 4]]
    assert grid[511:513].tolist() == [[124, 124], [8, 8]]
    assert len(anchors(192, 2304)) == 2304
    assert len(anchors(256, 896)) == 896


def test_outputs_are_seen_from_their_anchor() -> None:
    outputs, logits = np.zeros((896, 16), np.float32), np.full(896, -1e4, np.float32)
    outputs[2] = [1, 2, 20, 10, *range(12)]
    logits[2], logits[3] = 1e4, 3  # the latter's box has no size
    scores, points = decode(outputs, logits, 128, 0.5)
    assert scores.tolist() == [1]
    assert points[0, :3].tolist() == [[3, 1], [23, 11], [12, 5]]  # the anchor is at (12, 4)


def test_boxes_of_one_face_become_their_mean_weighted_by_score() -> None:
    corners = np.array([[[0, 0], [10, 10]], [[50, 0], [60, 10]], [[2, 0], [12, 10]]], np.float32)
    points = np.concatenate([corners, np.zeros((3, 6, 2), np.float32)], 1)
    scores, means = weighted_suppression(np.array([0.6, 0.7, 0.9], np.float32), points)
    assert scores.tolist() == pytest.approx([0.9, 0.7])
    assert means[0, :2].ravel().tolist() == pytest.approx([1.2, 0, 11.2, 10])
    assert means[1, :2].ravel().tolist() == [50, 0, 60, 10]


def test_overlaps_are_those_of_torchvision() -> None:
    boxes = np.random.default_rng(0).uniform(0, 50, (20, 2, 2)).astype(np.float32)
    boxes = np.sort(boxes, 1).reshape(-1, 4)
    expected = torchvision_iou(torch.from_numpy(boxes[:1]), torch.from_numpy(boxes))[0]
    assert np.allclose(box_iou(boxes[0], boxes), expected, atol=1e-6)


def test_shrinking_keeps_the_mean_and_takes_views() -> None:
    image = data.astronaut()[::-1, 100:400]
    small = shrink(image, (64, 37))
    assert small.shape == (64, 37, 3)
    assert small.dtype == np.uint8
    assert abs(small.mean() - image.mean()) < 2


def test_a_mesh_is_no_detector() -> None:
    with pytest.raises(UserError, match="no face detector of MediaPipe"):
        FaceDetector(str(packaged("face_landmark.tflite")))
