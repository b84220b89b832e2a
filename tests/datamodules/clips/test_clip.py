import math

import numpy as np
import pytest
import torch

from datamodules.clips.clip import AT_ONCE, Clip, crop, face_crops, in_crops, landmarks_in_crops, whole_pixels


class Ramp(Clip):
    """Frames whose red tells the column and whose green tells the row."""

    def __init__(self, boxes, found):
        self.name = "ramp"
        self.boxes, self.found = np.array(boxes, np.float32), np.array(found)
        self.landmarks = np.zeros((len(boxes), 68, 2), np.float32)
        self.mel, self.audio = torch.zeros(80, 10), torch.zeros(2000)

    def images(self, indices):
        y, x = np.mgrid[:20, :40]
        return np.stack([np.stack([x, y, np.full_like(x, index)], -1) for index in indices]).astype(np.uint8)


def test_a_box_of_the_size_of_the_crop_is_cut_as_it_is():
    cut = face_crops(Ramp([[5, 2, 13, 10]] * 3, [True] * 3), [2, 0], 8)
    assert cut.dtype == torch.uint8
    assert cut.shape == (2, 3, 8, 8)
    assert cut[0, 0, 0].tolist() == list(range(5, 13))
    assert cut[0, 1, :, 0].tolist() == list(range(2, 10))
    assert cut[:, 2].unique().tolist() == [0, 2]
    assert (cut[0, 2] == 2).all()


def test_what_lies_outside_repeats_the_border():
    cut = face_crops(Ramp([[-3, 15, 5, 23]], [True]), [0], 8)[0]
    assert cut[0, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert cut[1, :, 0].tolist() == [15, 16, 17, 18, 19, 19, 19, 19]


def test_a_frame_without_a_face_is_taken_as_a_whole():
    cut = face_crops(Ramp([[np.nan] * 4], [False]), [0], 10)[0]
    assert cut[1, 0, 0] < 2
    assert cut[1, -1, 0] > 17
    assert cut[0, 0, -1] > 36


def test_all_faces_of_a_long_clip_are_cut_out_without_holding_all_of_its_frames():
    clip = Ramp([[5, 2, 13, 10]] * 200, [True] * 200)
    asked, images = [], clip.images
    clip.images = lambda indices: asked.append(len(indices)) or images(indices)
    cut = face_crops(clip, range(200), 8)
    assert max(asked) <= AT_ONCE
    assert sum(asked) == 200
    assert cut[:, 2, 0, 0].tolist() == list(range(200))
    assert torch.equal(cut[150:153], face_crops(clip, [150, 151, 152], 8))


def test_a_box_is_stretched_to_a_square():
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[:, :, 20:] = 200
    cut = crop(image, torch.tensor([0.0, 0.0, 40.0, 20.0]), 10)
    assert (cut[:, :, :4] == 0).all()
    assert (cut[:, :, 6:] == 200).all()


def test_an_empty_box_gives_one_pixel():
    assert crop(torch.full((3, 4, 4), 7, dtype=torch.uint8), torch.tensor([2.0, 2.0, 2.0, 2.0]), 3).unique() == 7


def test_landmarks_lie_on_what_they_lay_on_before():
    clip = Ramp([[5, 2, 13, 12], [4.4, 1.6, 20.6, 9.7], [np.nan] * 4], [True, True, False])
    clip.landmarks[:2] = [9, 7]  # a point that the frames call column 9, row 7, of which pixels are the left and top
    points = landmarks_in_crops(clip, [1, 0, 2], 40)
    assert points.dtype == torch.float32
    assert points.shape == (3, 68, 2)
    assert points[1, 3].tolist() == [20, 20]  # (9 - 5) / 8 and (7 - 2) / 10 of 40
    assert torch.allclose(points[0, 3], torch.tensor([(9 - 4) / 17 * 40, (7 - 2) / 8 * 40]))  # of the rounded box
    assert (points[2] == 0).all()
    shown = face_crops(clip, [0, 1], 40)
    for crop_, point in zip(shown, points[[1, 0], 0], strict=True):
        x, y = (round(value) for value in point.tolist())
        assert abs(crop_[0, y, x - 1 : x + 1].float().mean() - 8.5) <= 0.5  # the middle of a pixel is half a pixel on
        assert abs(crop_[1, y - 1 : y + 1, x].float().mean() - 6.5) <= 0.5


def test_points_of_frames_in_crops():
    points = torch.tensor([[[10.0, 20.0], [30.0, 60.0]]])
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    assert in_crops(points, boxes, 64).tolist() == [[[0, 0], [64, 64]]]


def test_whole_pixels_are_those_of_a_crop():
    boxes = np.array([[0.6, 1.4, 7.5, 9.2], [3.2, 3.2, 3.4, 3.4]], np.float32)
    assert whole_pixels(boxes).tolist() == [[1, 1, 8, 9], [3, 3, 4, 4]]
    for box in boxes:
        ours, theirs = (face_crops(Ramp([each], [True]), [0], 8) for each in (whole_pixels(box[None])[0], box))
        assert torch.equal(ours, theirs)


def smooth_picture():
    y, x = torch.meshgrid(torch.arange(120), torch.arange(160), indexing="ij")
    return torch.stack([127 + 100 * torch.sin(x / a) * torch.cos(y / b) for a, b in ((9, 7), (5, 12), (14, 6))]).byte()


@pytest.mark.parametrize("box", [[30, 20, 94, 84], [-20, 60, 70, 131], [100, -30, 180, 40], [300, 300, 340, 340]])
@pytest.mark.parametrize("size", [16, 64, 100])
def test_a_box_that_hardly_leans_is_cut_like_an_upright_one(box, size):
    image, box = smooth_picture(), torch.tensor(box).float()
    upright = crop(image, box, size)
    assert torch.equal(crop(image, box, size, 0.0), upright)
    assert (crop(image, box, size, 1e-6).int() - upright.int()).abs().max() <= 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_box_that_lies_on_its_side_is_cut_like_a_turned_picture(turns):
    """In a square picture with the box in its middle."""
    image, box = smooth_picture()[:, :, :120], torch.tensor([30.0, 30.0, 90.0, 90.0])
    wanted = crop(torch.rot90(image, turns, (1, 2)), box, 24)
    assert (crop(image, box, 24, turns * math.pi / 2).int() - wanted.int()).abs().max() <= 1


def test_landmarks_of_a_leaning_box_lie_on_what_they_lay_on():
    """A spot in the frame is at its landmark in the crop."""
    y, x = torch.meshgrid(torch.arange(120) + 0.5, torch.arange(160) + 0.5, indexing="ij")
    spot = (255 * torch.exp(-((x - 70) ** 2 + (y - 66) ** 2) / 30)).byte().expand(3, 120, 160)
    box, roll = torch.tensor([40.0, 30.0, 100.0, 90.0]), torch.tensor([0.5])
    face = crop(spot, box, 60, 0.5)[0].float()
    middle = torch.stack(
        [(face.sum(0) * (torch.arange(60) + 0.5)).sum(), (face.sum(1) * (torch.arange(60) + 0.5)).sum()]
    )
    point = in_crops(torch.tensor([[[70.0, 66.0]]]), box[None], 60, roll)
    assert torch.allclose(point[0, 0], middle / face.sum(), atol=0.3)
    assert (point[0, 0] - torch.tensor([30.0, 36.0])).norm() > 2, "elsewhere than in the upright box"
