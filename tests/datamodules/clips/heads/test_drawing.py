import numpy as np
import pytest
import torch

from datamodules.clips.heads.drawing import LINES, WIDTH, draw_all, draw_landmarks
from datamodules.procedural.faces.faces import render_face

SAMPLES = 8  # a side of a pixel, of the naive rasteriser


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """Landmarks as shares of a picture's side."""
    return render_face(3, 5, 64).landmarks / 64


def naive(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Draw by the distance of many points of every pixel to every segment."""
    at = (np.arange(size * SAMPLES) + 0.5) / SAMPLES
    points = np.stack(np.meshgrid(at, at), -1)
    drawing = np.zeros((size, size, 3))
    for first, last, colour in LINES:
        inside = np.zeros(points.shape[:2], bool)
        for start, end in zip(landmarks[first:last], landmarks[first + 1 : last + 1], strict=True):
            along = end - start
            share = np.clip(((points - start) @ along) / (along @ along), 0, 1)
            inside |= np.linalg.norm(points - start - share[..., None] * along, axis=-1) <= WIDTH * size / 2
        cover = inside.reshape(size, SAMPLES, size, SAMPLES).mean((1, 3))[..., None]
        drawing += cover * (np.array(colour) - drawing)
    return drawing.transpose(2, 0, 1)


@pytest.mark.parametrize("size", [32, 50, 72])
def test_a_drawing_is_that_of_the_naive_rasteriser(face, size):
    expected = naive(face * size, size)
    drawn = draw_landmarks(face * size, size)
    assert drawn.shape == (3, size, size)
    assert drawn.dtype == torch.uint8
    difference = np.abs(drawn.numpy() - expected)
    assert difference[expected > 0].mean() < 4  # of 255, on what is not black
    assert (
        print(size, difference[expected > 0].mean(), difference.max(), drawn.numpy().mean() / expected.mean()) is None
    )
    assert abs(drawn.numpy().mean() - expected.mean()) < 0.03 * expected.mean()


def test_known_places_have_the_colours_of_the_authors_code(face):
    drawn = draw_landmarks(face * 512, 512)  # lines of six pixels
    parts = {
        8: (0, 128, 0),
        19: (255, 165, 0),
        24: (255, 165, 0),
        28: (0, 0, 255),
        33: (0, 0, 255),
        37: (255, 0, 0),
        44: (255, 0, 0),
        57: (128, 0, 128),
        62: (255, 192, 203),
    }
    for point, colour in parts.items():
        x, y = (face[point] * 512).astype(int)
        assert tuple(drawn[:, y, x].tolist()) == colour, point


@pytest.mark.parametrize(("first", "last"), [(36, 41), (42, 47), (48, 59), (60, 67)])
def test_eyes_and_lips_are_not_closed(first, last):
    points = np.full((68, 2), -50.0)  # all the others lie outside
    count = last - first + 1
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points[first : last + 1] = 64 + 40 * np.stack([np.cos(angle), np.sin(angle)], 1)
    drawn = draw_landmarks(points, 128)
    for start in range(first, last + 1):
        end = first if start == last else start + 1
        x, y = ((points[start] + points[end]) / 2).astype(int)
        assert bool(drawn[:, y, x].any()) == (start != last)


def test_a_shift_by_whole_pixels_shifts_the_drawing(face):
    points = np.round(face * 64 * 4096) / 4096  # so that sums are exact
    drawn, shifted = draw_landmarks(points, 64), draw_landmarks(points + np.array([3, -2]), 64)
    assert torch.equal(shifted[:, 4:58, 6:60], drawn[:, 6:60, 3:57])


def test_a_fraction_of_a_pixel_moves_the_middle_of_a_line_by_as_much():
    points = np.full((68, 2), -50.0)
    points[27:31] = np.stack([np.full(4, 10.0), np.linspace(5, 25, 4)], 1)
    at = np.arange(224) + 0.5

    def middle(shift: float) -> float:
        row = draw_landmarks(points + np.array([shift, 0]), 224)[2, 15].numpy().astype(float)
        return float((row * at).sum() / row.sum())

    assert middle(0.0) == pytest.approx(10.0, abs=0.02)
    assert [middle(shift) for shift in (0.5, 0.75)] == pytest.approx([10.5, 10.75], abs=0.06)


def test_points_may_lie_outside_the_picture_however_far(face):
    whole = draw_landmarks(face * 64, 96)[:, :64, :64]
    part = draw_landmarks(face * 64 - np.array([20, 30]), 64)
    assert part[:, :30, :40].any()
    # Lines are as wide as the picture asks for, so only where they are can be compared.
    assert not (part[:, :30, :40].any(0) & ~_grown(whole[:, 30:60, 20:60].any(0))).any()
    assert not draw_landmarks(face * 64 + 1e7, 64).any()
    far = face * 64
    far[8] = 64, 1e6  # its two segments run through the picture
    assert draw_landmarks(far, 64)[1, 63].any()


def _grown(mask: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.max_pool2d(mask[None].float(), 3, 1, 1)[0].bool()


def test_landmarks_of_a_larger_picture_are_scaled(face):
    assert torch.equal(draw_landmarks(face * 200, 50, side=200), draw_landmarks(face * 50, 50))


def test_many_are_drawn_as_each(face):
    several = np.stack([face * 40, face * 40 + 1, face * 40 - 2])
    assert torch.equal(draw_all(several, 40), torch.stack([draw_landmarks(each, 40) for each in several]))
    assert draw_all(torch.from_numpy(several[:0]), 40).shape == (0, 3, 40, 40)


@pytest.mark.parametrize("broken", [np.zeros((5, 2)), np.full((68, 2), np.nan)])
def test_what_are_no_landmarks_is_refused(broken):
    with pytest.raises(ValueError, match="68 finite points"):
        draw_landmarks(broken, 32)
