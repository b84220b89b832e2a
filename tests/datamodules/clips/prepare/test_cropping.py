import numpy as np
import pytest
from PIL import Image

from datamodules.clips.prepare.cropping import crop_windows, cut, in_window, picture_size
from tests.helpers.prepared_clips import smooth_picture

FRAME = (320, 240)


def faces(centres, width=40.0, height=50.0):
    half = np.array([width, height]) / 2
    return np.concatenate([np.asarray(centres) - half, np.asarray(centres) + half], 1).astype(np.float32)


def sizes(windows):
    return windows[:, 2:] - windows[:, :2]


def centres(windows):
    return (windows[:, 2:] + windows[:, :2]) / 2


@pytest.mark.parametrize("crop", ["moving", "fixed"])
def test_a_face_that_rests_gets_a_square_around_it(crop):
    boxes, found = faces([[100, 120]] * 30), np.ones(30, bool)
    windows = crop_windows(boxes, found, FRAME, crop, margin=1.6)
    np.testing.assert_allclose(windows, np.tile([60, 80, 140, 160], (30, 1)), atol=1e-4)
    assert windows.dtype == np.float32


def test_a_moving_window_follows_without_trembling():
    generator = np.random.default_rng(0)
    path = np.stack([np.linspace(80, 240, 200), np.full(200, 120.0)], 1)
    boxes = faces(path + generator.normal(0, 2, path.shape))
    windows = crop_windows(boxes, np.ones(200, bool), FRAME, "moving", margin=1.6)
    inner = slice(30, -30)
    assert np.abs(centres(windows) - path)[inner].max() < 1.5
    assert np.abs(np.diff(centres(windows)[inner], 2, axis=0)).max() < 0.2
    np.testing.assert_allclose(sizes(windows), 80, atol=1e-3)


def test_frames_without_a_face_lie_between_their_neighbours():
    found = np.ones(60, bool)
    found[:10] = found[25:35] = found[50:] = False
    boxes = faces(np.stack([np.linspace(100, 110, 60), np.full(60, 90.0)], 1))
    boxes[~found] = np.nan
    windows = crop_windows(boxes, found, FRAME, "moving", margin=1.5)
    assert np.isfinite(windows).all()
    assert np.abs(np.diff(windows, axis=0)).max() < 0.5
    assert np.isfinite(crop_windows(boxes, found, FRAME, "fixed", margin=1.5)).all()


def test_nothing_is_smoothed_across_a_cut():
    path = np.array([[60.0, 100]] * 30 + [[250.0, 130]] * 30)
    windows = crop_windows(faces(path), np.ones(60, bool), FRAME, "moving", margin=1.6)
    np.testing.assert_allclose(centres(windows), path, atol=1e-3)


def test_one_face_in_one_frame_is_enough():
    found = np.zeros(9, bool)
    found[4] = True
    for crop in ("moving", "fixed"):
        windows = crop_windows(faces([[50, 60]] * 9), found, FRAME, crop, margin=1.2)
        np.testing.assert_allclose(windows, np.tile([20, 30, 80, 90], (9, 1)), atol=1e-4)


def test_a_fixed_window_holds_the_head_but_not_an_outlier():
    path = np.stack([100 + 20 * np.sin(np.arange(100) / 10), np.full(100, 120.0)], 1)
    path[50] = [300, 20]
    boxes = faces(path)
    windows = crop_windows(boxes, np.ones(100, bool), FRAME, "fixed", margin=1.2)
    assert (windows == windows[0]).all()
    inside = (boxes[:, :2] >= windows[:, :2]).all(1) & (boxes[:, 2:] <= windows[:, 2:]).all(1)
    assert inside.sum() == 99
    assert sizes(windows).max() < 110


def test_whole_frames_and_the_fixed_crop_of_diff2lip():
    boxes, found = np.zeros((3, 4), np.float32), np.ones(3, bool)
    assert crop_windows(boxes, found, FRAME, "none", 1.6).tolist() == [[0, 0, 320, 240]] * 3
    assert crop_windows(boxes, found, (224, 224), "voxceleb2", 1.6).tolist() == [[50, 0, 174, 158]] * 3
    assert picture_size(FRAME, "none", 160) == (160, 120)
    assert picture_size(FRAME, "moving", 160) == picture_size(FRAME, "voxceleb2", 160) == (160, 160)


def test_whole_pixels_are_cut_as_they_are():
    image = np.asarray(smooth_picture(0, 64, 48))
    picture = cut(image, np.array([10, 5, 42, 37], np.float32), (32, 32))
    np.testing.assert_array_equal(np.asarray(picture), image[5:37, 10:42])
    np.testing.assert_array_equal(np.asarray(cut(image, np.array([0, 0, 64, 48], np.float32), (64, 48))), image)


def test_a_window_beyond_the_frame_repeats_its_border():
    image = np.asarray(smooth_picture(0, 64, 48))
    expected = np.pad(image, ((20, 20), (20, 20), (0, 0)), "edge")
    picture = cut(image, np.array([-20, -20, 84, 68], np.float32), (104, 88))
    np.testing.assert_array_equal(np.asarray(picture), expected)
    far = cut(image, np.array([100, 100, 120, 120], np.float32), (20, 20))
    assert (np.asarray(far) == image[-1, -1]).all()


def test_fractions_of_a_pixel_count_and_points_go_along():
    """A ramp shows where each pixel comes from: at pixel centre x its value is 4 x."""
    image = np.repeat((4 * np.arange(64))[None, :, None], 48, 0).repeat(3, 2).astype(np.uint8)
    window = np.array([10.5, 8, 42.5, 40], np.float32)
    picture = np.asarray(cut(image, window, (64, 64)))[32, :, 0].astype(float)
    points = in_window(np.array([[[20.5, 20.0]]], np.float32), window[None], (64, 64))
    assert points.tolist() == [[[20.0, 24.0]]]
    assert picture[19] / 4 == pytest.approx(20 - 0.25, abs=0.15)  # edges of pixels map to edges, so centres by a half
    assert picture[20] / 4 == pytest.approx(20 + 0.25, abs=0.15)


def test_shrinking_is_antialiased_as_in_pillow():
    image = np.asarray(smooth_picture(1, 640, 480))
    whole = Image.fromarray(image).resize((64, 48), Image.Resampling.BILINEAR)
    picture = cut(image, np.array([0, 0, 640, 480], np.float32), (64, 48))
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(np.asarray(picture, int)[inner], np.asarray(whole, int)[inner], atol=1)
