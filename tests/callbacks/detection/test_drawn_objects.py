import io

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from callbacks.detection.drawn_objects import LARGEST, SMALLEST, Drawn, as_jpeg, drawn, shortened

GREY = (90, 90, 90)


def grey(width, height):
    return Image.new("RGB", (width, height), GREY)


def marked(picture):
    """Where a picture is not its ground."""
    return (np.asarray(picture) != GREY).any(-1)


def test_a_box_is_drawn_where_it_is():
    picture = drawn(grey(640, 640), (1280, 1280), [Drawn((200, 600, 1000, 1200), 3, "cat", "cat 0.90")])
    assert picture.size[0] == LARGEST
    found = marked(picture)[: LARGEST - 60]
    assert found[600:1200, 200].all()
    assert found[600, 200:1000].all()
    assert found[1199, 200:1000].all()
    assert not found[620:1180, 220:980].any()


@pytest.mark.parametrize("size", [(1, 1), (30, 20), (3, 2000), (4000, 3000), (700, 700)])
def test_pictures_of_any_size_are_legible(size):
    """Names stay within the picture, which is enlarged if need be; its shape stays."""
    height, width = size
    box = (0, 0, width, height)
    picture = drawn(grey(max(1, width // 2), max(1, height // 2)), size, [Drawn(box, 0, "a name", "a name 0.50")])
    side = min(LARGEST, max(SMALLEST, *size))
    assert abs(max(picture.width, 0) - side * width / max(size)) <= 1 or picture.width == 240
    assert picture.height >= side * height / max(size) - 1


def test_names_do_not_cover_each_other():
    """Ten boxes at one place: each name has a place of its own or none."""
    places = []
    for count in (1, 4, 10):
        objects = [Drawn((300, 300, 500, 420), 0, "x", "name 0.50") for _ in range(count)]
        places.append(marked(drawn(grey(640, 640), (640, 640), objects))[:640].sum())
    assert places[0] < places[1] <= places[2]


def test_the_legend_names_every_class_that_has_room(tmp_path):
    objects = [Drawn((10, 10, 90, 90), k, f"class number {k}", "x") for k in range(200)]
    tall = drawn(grey(640, 640), (640, 640), objects)
    short = drawn(grey(640, 640), (640, 640), objects[:1])
    none = drawn(grey(640, 640), (640, 640), [])
    assert none.size == (640, 640)
    assert 640 < short.height < tall.height < 740
    assert drawn(grey(640, 640), (640, 640), [], "nothing").height == short.height


def test_a_mask_lies_over_the_picture():
    pixel = np.zeros((640, 640), np.uint8, order="F")
    pixel[100:200, 300:400] = 1
    picture = drawn(grey(640, 640), (640, 640), [Drawn((300, 100, 400, 200), 0, "x", "x", mask=rle.encode(pixel))])
    found = marked(picture)
    assert found[110:190, 310:390].all()
    assert not found[210:600, 310:390].any()


def test_dashes_leave_gaps():
    box = (100, 100, 500, 500)
    whole, dashed = (
        marked(drawn(grey(640, 640), (640, 640), [Drawn(box, 0, "x", "x", dashed=dash, colour=(255, 0, 0))]))
        for dash in (False, True)
    )
    assert whole[499, 100:500].all()
    assert 0.3 < dashed[499, 100:500].mean() < 0.8


def test_files_keep_size_and_colours():
    plain = drawn(grey(1280, 1280), (1280, 1280), [Drawn((100, 100, 900, 900), 3, "x", "x", colour=(255, 0, 0))])
    with Image.open(io.BytesIO(as_jpeg(plain))) as picture:
        assert picture.format == "JPEG"
        assert picture.size == plain.size
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(plain)).mean() < 2


def test_long_names_keep_both_ends():
    assert shortened("cat") == "cat"
    name = shortened("handkerchief_of_the_second_kind_version_2")
    assert len(name) == 28
    assert name.startswith("handkerchief_of_th")
    assert name.endswith("version_2")
