import logging
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.detection.annotations import PictureFile, check_boxes
from tests.helpers.image_files import pixels, save_photo, truncate
from visionscapes.errors import UserError


def check(numbers, form="xywh", size=(40, 60), evaluated=False):
    sizes = np.array([size] * len(numbers)).reshape(-1, 2)
    return check_boxes(np.array(numbers), sizes, form, "Set", lambda place: f"box {place}", evaluated=evaluated)


def uniform_boxes(count, seed, width=60, height=40):
    """(count, 4) xyxy with ordered uniform corners."""
    corners = np.random.default_rng(seed).random((count, 2, 2)) * (width, height)
    corners = np.sort(corners, axis=1)
    corners[:, 1] = np.maximum(corners[:, 1], corners[:, 0] + 1e-3)
    return corners.reshape(count, 4)


def as_xywh(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def test_both_forms_become_half_open_corners():
    for numbers, form in (([[10, 5, 20, 30]], "xywh"), ([[10, 5, 30, 35]], "xyxy")):
        boxes, kept = check(numbers, form)
        assert boxes.tolist() == [[10, 5, 30, 35]]
        assert (boxes.dtype, kept.tolist()) == (np.float32, [True])


def test_boxes_are_cut_at_the_border_and_counted(caplog):
    with caplog.at_level(logging.WARNING):
        boxes, kept = check([[-3, 5, 20, 30], [50, 30, 20, 20], [10, 10, 10, 10], [20, 10, 40.3, 10]])
    assert boxes.tolist() == [[0, 5, 17, 35], [50, 30, 60, 40], [10, 10, 20, 20], [20, 10, 60, 20]]
    assert kept.all()
    assert (
        "Set: cut 2 of 4 boxes at the border of their picture (box 0: [-3.0, 5.0, 20.0, 30.0] in 60 x 40 pixels; "
        in (caplog.text)
    )


def test_boxes_without_area_are_left_out_of_training_and_counted(caplog):
    numbers = [[5, 5, 0, 9], [5, 5, 9, 0], [5, 5, -2, 9], [70, 5, 9, 9], [5, 5, 9, 9]]
    with caplog.at_level(logging.WARNING):
        _, kept = check(numbers)
    assert kept.tolist() == [False, False, False, False, True]
    assert "Set: left out 4 of 5 boxes: no area (box 0: [5.0, 5.0, 0.0, 9.0] in 60 x 40 pixels; box 1: " in caplog.text
    assert "box 2: [5.0, 5.0, -2.0, 9.0] in 60 x 40 pixels; ...)" in caplog.text


def test_evaluation_keeps_every_box_as_it_is(caplog):
    with caplog.at_level(logging.WARNING):
        boxes, kept = check([[5, 5, 0, 9], [50, 30, 20, 20], [5, 5, 9, 9]], evaluated=True)
    assert boxes.tolist() == [[5, 5, 5, 14], [50, 30, 70, 50], [5, 5, 14, 14]]
    assert kept.all()
    assert not caplog.text


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("evaluated", [True, False])
def test_numbers_that_are_not_finite_are_an_error(number, evaluated):
    with pytest.raises(UserError, match=r"Set: 1 of 2 boxes hold numbers that are not finite \(box 1: .*correct"):
        check([[5, 5, 9, 9], [5, number, 9, 9]], evaluated=evaluated)


@pytest.mark.parametrize("evaluated", [True, False])
def test_corners_read_as_sizes_are_recognised(evaluated):
    numbers = [[30, 20, 50, 35], [5, 5, 9, 9], [40, 10, 58, 20], [20, 25, 40, 39], [1, 1, 3, 3]]
    with pytest.raises(UserError) as error:
        check(numbers, evaluated=evaluated)
    message = str(error.value)
    assert (
        "Set: 3 of 5 boxes make no sense as x, y, width, height (box 0: [30.0, 20.0, 50.0, 35.0] in 60 x 40" in message
    )
    assert "box 2: " in message
    assert "box 3: " in message
    assert "nearly all do as x1, y1, x2, y2: write [x1, y1, x2 - x1, y2 - y1] instead" in message


def test_sizes_read_as_corners_are_recognised():
    numbers = [[30, 20, 20, 15], [5, 5, 4, 4], [40, 10, 18, 20], [20, 25, 20, 14], [1, 1, 3, 3]]
    with pytest.raises(UserError, match=r"4 of 5 boxes make no sense as x1, y1, x2, y2 .* write the corner x \+ width"):
        check(numbers, "xyxy")


def test_a_few_odd_boxes_are_no_mix_up():
    good = [[1, 1, 5, 5]] * 9
    assert check([*good, [30, 20, 50, 35], [40, 10, 58, 20], [20, 25, 40, 39]])[1].all()  # 3 of 12
    assert check([[30, 20, 50, 35], [40, 10, 58, 20]])[1].all()  # two are too few to tell
    # Boxes for pictures of another size do not become right in the other form.
    assert not check([[100, 80, 30, 30], [200, 10, 50, 50], [90, 50, 10, 10], [70, 10, 10, 10]])[1].any()


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_right_boxes_pass_unchanged(count, seed):
    boxes = uniform_boxes(count, seed)
    for numbers, form in ((as_xywh(boxes), "xywh"), (boxes, "xyxy")):
        found, kept = check(numbers, form)
        assert np.allclose(found, boxes, atol=1e-4)
        assert kept.mean() > 0.9  # float32 may flatten the thinnest


@settings(max_examples=50, deadline=None)
@given(count=st.integers(30, 60), seed=st.integers(0, 2**31))
def test_the_wrong_form_never_passes_for_a_whole_data_set(count, seed):
    boxes = uniform_boxes(count, seed)
    with pytest.raises(UserError, match="make no sense as x, y, width, height"):
        check(boxes, "xywh")
    with pytest.raises(UserError, match="make no sense as x1, y1, x2, y2"):
        check(as_xywh(boxes), "xyxy")


@pytest.mark.parametrize("evaluated", [True, False])
def test_some_boxes_in_shares_among_pixels_are_told(caplog, evaluated):
    numbers = [[5, 5, 9, 9], [0.25, 0.5, 0.5, 0.25], [8, 5, 9, 9], [0, 0, 1, 1], [0, 0, 0, 0]]
    boxes, _ = check(numbers, evaluated=evaluated)
    assert boxes[1].tolist() == [0.25, 0.5, 0.75, 0.75]
    assert (
        "Set: 2 of 5 boxes lie in [0, 1] (box 1: [0.25, 0.5, 0.5, 0.25] in 60 x 40 pixels; box 3: [0.0, 0.0, 1.0, 1.0] "
        "in 60 x 40 pixels) and are taken as pixels, as the others; if they are shares" in caplog.text
    )


def percent(count, seed=0):
    return as_xywh(uniform_boxes(count, seed, width=100, height=100))


@pytest.mark.parametrize("evaluated", [True, False])
@pytest.mark.parametrize("form", ["xywh", "xyxy"])
def test_boxes_in_percent_are_told(caplog, evaluated, form):
    numbers = percent(20) if form == "xywh" else uniform_boxes(20, 0, width=100, height=100)
    check(numbers, form, size=(300, 400), evaluated=evaluated)
    assert "Set: 20 of 20 boxes end within the first 100 pixels of larger pictures (box 0: " in caplog.text
    assert "If they are percent, multiply them by a hundredth of width and height" in caplog.text


def test_pixels_are_not_called_percent(caplog):
    check(percent(9), size=(300, 400))  # too few to tell
    check(percent(20), size=(150, 190))  # pictures of that size
    check([*percent(18), [50, 50, 90, 20], [5, 50, 9, 80]], size=(300, 400))  # one in ten reaches further
    assert not caplog.text


def test_no_boxes_at_all_pass():
    boxes, kept = check(np.empty((0, 4)))
    assert (boxes.shape, kept.shape) == ((0, 4), (0,))


def test_a_picture_is_read_by_a_pickled_reader(tmp_path):
    reader = pickle.loads(pickle.dumps(PictureFile(save_photo(tmp_path / "a.png", 36, 24), (24, 36))))
    image = reader()
    assert np.array_equal(image, pixels(24, 36))
    assert image.flags.writeable


def test_a_picture_of_another_size_or_a_broken_one_is_an_error(tmp_path):
    path = save_photo(tmp_path / "a.jpg", 36, 24)
    with pytest.raises(UserError, match="has 36 x 24 pixels, its annotations are for 24 x 36: put the file that"):
        PictureFile(path, (36, 24))()
    with pytest.raises(UserError, match="cannot read the image"):
        PictureFile(truncate(path), (24, 36))()
    with pytest.raises(UserError, match=r"cannot read the image .*b\.jpg"):
        PictureFile(tmp_path / "b.jpg", (24, 36))()


ORIENTATION = 0x0112


def save_turned(path, orientation, width=36, height=24):
    """Save a picture of four colours, so that every turn of it is told from the others; return it as it is stored."""
    stored = np.zeros((height, width, 3), np.uint8)
    stored[: height // 2, : width // 2] = (250, 0, 0)
    stored[height // 2 :, : width // 2] = (0, 250, 0)
    stored[: height // 2, width // 2 :] = (0, 0, 250)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    return stored


def upright(stored, orientation):
    """Turn an array by hand as EXIF 2.3 says: where row 0 and column 0 of the stored pixels are to be seen."""
    turns = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: x.swapaxes(0, 1)[:, ::-1],
        7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
        8: lambda x: x.swapaxes(0, 1)[::-1],
    }
    return turns[orientation](stored)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("option", [False, True])
def test_the_annotated_size_decides_whether_a_picture_is_turned(tmp_path, orientation, option):
    path = tmp_path / "a.png"
    stored = save_turned(path, orientation)
    turned = upright(stored, orientation)
    if orientation < 5:  # the size is the same
        expected = turned if option else stored
        assert np.array_equal(PictureFile(path, (24, 36), option)(), expected)
    else:
        assert np.array_equal(PictureFile(path, (24, 36), option)(), stored)
        assert np.array_equal(PictureFile(path, (36, 24), option)(), turned)
    with pytest.raises(UserError, match="its annotations are for 20 x 10: put the file that was annotated"):
        PictureFile(path, (10, 20), option)()


def test_of_a_square_the_option_decides(tmp_path):
    stored = save_turned(tmp_path / "a.png", 6, 24, 24)
    assert np.array_equal(PictureFile(tmp_path / "a.png", (24, 24))(), stored)
    assert np.array_equal(PictureFile(tmp_path / "a.png", (24, 24), upright=True)(), upright(stored, 6))


@pytest.mark.parametrize(
    ("numbers", "form", "remedy"),
    [
        (
            [[0.1, 0.2, 0.3, 0.4]],
            "xywh",
            "multiply x and width by the width of the picture (60) and y and height by its",
        ),
        (
            [[0.1, 0.2, 0.5, 1.0], [0, 0, 1, 1]],
            "xyxy",
            "multiply x1 and x2 by the width of the picture (60) and y1 and",
        ),
        ([[0, 0, 1, 1]] * 3, "xywh", "3 of 3 boxes lie in [0, 1] (box 0: "),
    ],
)
@pytest.mark.parametrize("evaluated", [True, False])
def test_boxes_in_shares_of_the_picture_are_refused_with_the_factor(numbers, form, remedy, evaluated):
    with pytest.raises(UserError) as error:
        check(numbers, form, evaluated=evaluated)
    assert remedy in str(error.value)
    assert "its height (40)" in str(error.value)


def test_a_small_box_among_others_is_no_share():
    assert check([[0, 0, 1, 1], [0, 0, 1, 1]])[1].all()  # whole pixels, and few
    assert check([[0.2, 0.2, 0.5, 0.5], [3, 4, 5, 6]])[1].all()
