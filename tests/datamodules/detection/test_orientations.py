import numpy as np
import pytest
from PIL import Image

from datamodules.detection.orientations import ORIENTATION, check_orientations, on_its_side
from visionscapes.errors import UserError


def save(path, orientation=None, width=20, height=10):
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)
    return str(path)


def told(caplog, paths, sizes, upright=False):
    check_orientations(paths, np.array(sizes), "Set", upright=upright)
    return caplog.text


def test_upright_pictures_are_not_told(tmp_path, caplog):
    paths = [
        save(tmp_path / "a.jpg"),
        save(tmp_path / "b.jpg", 1),
        save(tmp_path / "c.jpg", 0),
        save(tmp_path / "d.jpg", 9),
    ]
    assert told(caplog, paths, [(10, 20)] * 4) == ""


def test_pictures_on_their_side_are_counted_where_their_sizes_say_so(tmp_path, caplog):
    paths = [save(tmp_path / f"{k}.jpg", k) for k in (5, 6, 8)]
    text = told(caplog, paths, [(20, 10), (10, 20), (20, 10)])
    assert "Set: 2 of 3 pictures are turned as EXIF says, such as 5.jpg, because" in text
    assert "ambiguous_orientation" not in text


@pytest.mark.parametrize(("upright", "taken", "other"), [(False, "stored", "upright"), (True, "upright", "stored")])
def test_what_the_sizes_leave_open_is_counted_with_the_option(tmp_path, caplog, upright, taken, other):
    paths = [save(tmp_path / f"{k}.jpg", k) for k in (1, 2, 3, 4)] + [save(tmp_path / "6.jpg", 6, 10, 10)]
    text = told(caplog, paths, [(10, 20)] * 4 + [(10, 10)], upright)
    assert "Set: of 4 of 5 pictures, such as 2.jpg, EXIF says to turn them" in text
    assert f"they are taken as {taken}. Look" in text
    assert f"--data.init_args.ambiguous_orientation={other} if they do not fit" in text
    assert "speak for it" not in text


def test_pictures_that_are_turned_by_their_sizes_speak_for_the_others(tmp_path, caplog):
    paths = [save(tmp_path / "3.jpg", 3), save(tmp_path / "6.jpg", 6)]
    assert "those that are turned by their sizes speak for it" in told(caplog, paths, [(10, 20), (20, 10)])


@pytest.mark.parametrize("upright", [False, True])
def test_sizes_that_are_those_of_the_files_decide_nothing(tmp_path, caplog, upright):
    paths = [save(tmp_path / f"{k}.jpg", k) for k in (1, 6, 8)]
    sizes = np.array([(10, 20), (20, 10) if upright else (10, 20), (20, 10)])
    unstated = np.array([True, True, False])
    check_orientations(paths, sizes, "Set", upright=upright, unstated=unstated)
    taken, other = ("upright", "stored") if upright else ("stored", "upright")
    assert "Set: 1 of 3 pictures are turned as EXIF says, such as 8.jpg" in caplog.text
    assert "Set: of 1 of 3 pictures, such as 6.jpg, EXIF says to turn them" in caplog.text
    assert "or their annotations state no size" in caplog.text
    assert f"they are taken as {taken}. Look" in caplog.text
    assert f"--data.init_args.ambiguous_orientation={other} if they do not fit" in caplog.text


def test_without_an_option_the_files_are_to_be_changed(tmp_path, caplog):
    paths, sizes = [save(tmp_path / "3.jpg", 3)], np.array([(10, 20)])
    check_orientations(paths, sizes, "Set", upright=False, option="")
    assert "save them turned, without EXIF, if they do not fit" in caplog.text
    assert "ambiguous_orientation" not in caplog.text


@pytest.mark.parametrize(
    ("orientation", "expected"), [(None, False), (1, False), (4, False), (5, True), (8, True), (9, False)]
)
def test_only_the_last_four_orientations_exchange_the_sides(tmp_path, orientation, expected):
    with Image.open(save(tmp_path / "a.jpg", orientation)) as image:
        assert on_its_side(image) == expected


def test_another_size_is_refused_with_both_that_the_picture_has(tmp_path):
    paths = [save(tmp_path / "1.jpg"), save(tmp_path / "6.jpg", 6)]
    with pytest.raises(
        UserError, match=r"6\.jpg has 20 x 10 or 10 x 20 pixels, stored or turned as EXIF says, its ann"
    ):
        check_orientations(paths, np.array([(10, 20), (30, 30)]), "Set", upright=False)
    with pytest.raises(UserError, match=r"1\.jpg has 20 x 10 pixels, its annotations are for 20 x 11: put the file"):
        check_orientations(paths, np.array([(11, 20), (10, 20)]), "Set", upright=False)


def test_what_cannot_be_read_or_has_no_size_is_left_to_others(tmp_path, caplog):
    (tmp_path / "a.jpg").write_text("no picture")
    paths = [str(tmp_path / "a.jpg"), str(tmp_path / "none.jpg"), save(tmp_path / "b.jpg")]
    assert told(caplog, paths, [(1, 1), (1, 1), (0, 0)]) == ""
