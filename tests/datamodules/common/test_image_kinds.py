import pytest
from PIL import Image

from datamodules.common import image_kinds
from datamodules.common.image_kinds import PHONE_SUFFIXES, can_read_phones, is_silent, picture_suffixes


def test_every_kind_that_pillow_decodes_is_a_picture_and_nothing_else():
    common = ".avif .jp2 .jfif .jpe .mpo .tga .ico .apng .bmp .gif .jpg .png .ppm .pbm .tif .webp .psd .qoi .dds .pcx"
    assert set(common.split()) <= set(picture_suffixes())
    assert not {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".hdf", ".h5", ".grib", ".bufr", ".wmf", ".emf"} & set(
        picture_suffixes()
    )


def test_what_is_only_written_is_no_picture():
    Image.init()
    written = {kind for kind in Image.SAVE if kind not in Image.OPEN and kind != "MPO"}
    assert written, "Pillow writes formats that it cannot read"
    kinds = Image.registered_extensions()
    assert not {kinds[suffix] for suffix in picture_suffixes()} & written


def test_photographs_of_phones_take_their_package(monkeypatch):
    monkeypatch.setattr(image_kinds, "find_spec", lambda name: None)
    can_read_phones.cache_clear()
    picture_suffixes.cache_clear()
    try:
        assert not can_read_phones()
        if ".heic" not in Image.registered_extensions():  # else another test has taught Pillow
            assert not set(PHONE_SUFFIXES) & set(picture_suffixes())
    finally:
        can_read_phones.cache_clear()
        picture_suffixes.cache_clear()


def test_with_their_package_phones_pictures_are_pictures(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    assert {".heic", ".heif"} <= set(picture_suffixes())
    pillow_heif.from_pillow(Image.new("RGB", (32, 16), "red")).save(tmp_path / "x.heic")
    assert Image.open(tmp_path / "x.heic").size == (32, 16)


@pytest.mark.parametrize("name", [".DS_Store", "._x.jpg", "Thumbs.db", "desktop.ini", "THUMBS.DB", ".hidden.png"])
def test_what_file_managers_leave_is_silent(name):
    assert is_silent(name)
    assert not is_silent("photo.jpg")
    assert not is_silent("notes.ini")
