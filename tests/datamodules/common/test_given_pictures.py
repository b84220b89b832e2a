import io

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.given_pictures import as_image, is_open_file, listed, opened, to_array
from datamodules.common.image_files import read_image
from tests.helpers.image_files import pixels as noise
from visionscapes.errors import UserError

PIXELS = noise(5, 7)


def same(image: Image.Image, pixels=PIXELS) -> bool:
    return image.mode == "RGB" and np.array_equal(np.asarray(image), pixels)


class TestKinds:
    @pytest.mark.parametrize(
        "given",
        [
            PIXELS,
            PIXELS.astype(np.float32) / 255,
            PIXELS / 255,
            np.asfortranarray(PIXELS),
            np.concatenate([PIXELS, np.full((5, 7, 1), 255, np.uint8)], 2),
            torch.from_numpy(PIXELS).permute(2, 0, 1),
            torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255,
            (torch.from_numpy(PIXELS).permute(2, 0, 1).double() / 255).requires_grad_(),
            Image.fromarray(PIXELS),
        ],
    )
    def test_all_kinds_are_one_picture(self, given):
        assert same(as_image(given, "the picture"))

    @pytest.mark.parametrize("given", [PIXELS[..., 0], PIXELS[..., :1], torch.from_numpy(PIXELS[..., 0])[None]])
    def test_grey_has_three_equal_channels(self, given):
        assert same(as_image(given, "x"), np.repeat(PIXELS[..., :1], 3, 2))

    def test_half_precision_is_near(self):
        given = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255
        for dtype in (torch.float16, torch.bfloat16):
            found = np.asarray(as_image(given.to(dtype), "x")).astype(int)
            assert np.abs(found - PIXELS).max() <= 1

    def test_a_path_is_read_as_files_are(self, tmp_path):
        path = tmp_path / "a.png"
        Image.fromarray(PIXELS).convert("P").save(path)
        expected = np.asarray(read_image(path))
        assert same(as_image(path, "x"), expected)
        assert same(as_image(str(path), "x"), expected)
        assert same(as_image(Image.open(path), "x"), expected)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
    def test_every_mode_of_an_image_is_that_of_its_file(self, mode, tmp_path):
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else None
        image = image or Image.fromarray(PIXELS).convert(mode)
        path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
        image.save(path)
        assert same(as_image(image, "x"), np.asarray(read_image(path)))

    def test_exif_data_turn_files_and_images_alike(self, tmp_path):
        path = tmp_path / "a.png"
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(PIXELS).save(path, exif=exif)
        turned = np.rot90(PIXELS, -1)
        assert same(as_image(path, "x"), turned)
        assert same(as_image(Image.open(path), "x"), turned)
        assert same(as_image(path, "x", upright=False))
        assert same(as_image(Image.open(path), "x", upright=False))


class Stream(io.RawIOBase):
    """Bytes that come once, as those of a connection do."""

    def __init__(self, content: bytes):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, into):
        return self.content.readinto(into)


class TestOpenFiles:
    @pytest.fixture
    def path(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
        return tmp_path / "a.png"

    def test_they_are_pictures_as_their_files_are(self, path):
        for upright in (True, False):
            expected = np.asarray(as_image(path, "x", upright=upright))
            with path.open("rb") as file:
                for given in (file, file, io.BytesIO(path.read_bytes()), Stream(path.read_bytes())):
                    assert same(as_image(given, "x", upright=upright), expected)
                assert not file.closed

    def test_one_is_no_list_of_its_lines(self, path):
        with path.open("rb") as file:
            things, many = listed(file)
            assert (list(things), many) == ([(file, "the picture")], False)
            assert listed([file])[1]

    def test_which_things_are_open_files(self, path):
        assert is_open_file(io.BytesIO())
        assert is_open_file(io.StringIO())
        assert not any(map(is_open_file, (path, str(path), b"", PIXELS, torch.zeros(2), Image.open(path), None)))

    def test_what_is_wrong_is_said_with_the_name(self, path):
        with path.open() as text, pytest.raises(UserError, match=r"it is a file that was opened as text.*'rb'"):
            as_image(text, "it")
        with path.open("rb") as file:
            pass
        for given, said in (
            (file, r"cannot use it \(.*a\.png\): .*closed file\. Replace"),
            (io.BytesIO(b"text"), r"cannot use it: its content is not an image, or its beginning is damaged\. Replace"),
            (io.BytesIO(path.read_bytes()[:-30]), "cannot use it: .*Replace the file"),
            (io.BytesIO(), "cannot use it: its content is not an image"),
        ):
            with pytest.raises(UserError, match=said):
                as_image(given, "it")

    def test_an_opened_picture_is_read_later(self, path):
        assert opened(io.BytesIO(path.read_bytes()), "x").size == (7, 5)


class TestErrors:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (np.zeros((3, 5, 7), np.uint8), r"shape \(3, 5, 7\).*transpose\(1, 2, 0\)"),
            (torch.zeros(5, 7, 3), r"shape \(5, 7, 3\).*permute\(2, 0, 1\)"),
            (torch.zeros(1, 2, 3, 4, 5), "5 dimensions"),
            (np.zeros((0, 7, 3), np.uint8), "no pixel"),
            (np.full((5, 7, 3), 200.0), r"floats from 200 to 200.*astype\(numpy.uint8\)"),
            (np.full((5, 7, 3), -0.5), r"from -0.5 to -0.5.*\(x \+ 1\) / 2"),
            (np.full((5, 7, 3), np.nan), "NaN"),
            (np.zeros((5, 7, 3), np.int64), "type int64: give uint8"),
            (np.zeros((5, 7), bool), "type bool"),
            (torch.zeros(3, 5, 7, device="meta"), "meta device"),
            (17, "class int: give a path"),
            (Image.new("F", (4, 4)), "floating-point numbers of unknown range"),
        ],
    )
    def test_what_is_wrong_is_said_with_the_name(self, given, said):
        with pytest.raises(UserError, match=f"picture 4 of the list.*{said}"):
            as_image(given, "picture 4 of the list")

    def test_a_single_number_is_no_picture(self):
        with pytest.raises(UserError, match=r"it has shape \(\)"):
            as_image(np.array(5, np.uint8), "it")

    def test_files_are_named(self, tmp_path):
        (tmp_path / "broken.png").write_bytes(b"no picture")
        with pytest.raises(UserError, match=r"broken\.png.*Replace the file, or leave it out"):
            as_image(tmp_path / "broken.png", "x")
        with pytest.raises(UserError, match=r"no picture .*gone\.png"):
            as_image(tmp_path / "gone.png", "x")
        with pytest.raises(UserError, match="is a folder: give its files"):
            as_image(tmp_path, "x")
        with pytest.raises(UserError, match=r"a\.png is an address.*download it"):
            as_image("https://example.org/a.png", "x")

    def test_an_image_that_is_cut_off_is_named_with_its_file(self, tmp_path):
        path = tmp_path / "cut.png"
        Image.fromarray(noise(50, 50)).save(path)
        path.write_bytes(path.read_bytes()[:-4000])
        with pytest.raises(UserError, match=r"picture 2 of the list \(.*cut\.png\)"):
            as_image(Image.open(path), "picture 2 of the list")


class TestListed:
    @pytest.mark.parametrize("given", ["a.png", Image.new("RGB", (2, 2)), PIXELS, torch.zeros(3, 5, 7), {"a": 1}, 5])
    def test_one_thing(self, given):
        things, many = listed(given)
        assert not many
        assert [thing is given for thing, _ in things] == [True]

    @pytest.mark.parametrize(
        "given", [["a", "b"], ("a", "b"), iter(["a", "b"]), PIXELS[None].repeat(2, 0), torch.zeros(2, 3, 5, 7)]
    )
    def test_series(self, given):
        things, many = listed(given)
        assert many
        assert len(list(things)) == 2

    def test_names(self):
        assert [name for _, name in listed(["a.png", PIXELS])[0]] == ["the picture a.png", "picture 2 of the list"]
        assert [name for _, name in listed(PIXELS)[0]] == ["the picture"]

    def test_nothing_in_a_list_is_a_thing(self):
        things, many = listed([None, PIXELS])
        assert many
        assert [name for _, name in things] == ["picture 1 of the list", "picture 2 of the list"]

    def test_no_thing_is_an_error(self):
        for empty in ([], (), np.zeros((0, 5, 7, 3)), iter([])):
            with pytest.raises(UserError, match="the list is empty"):
                listed(empty)

    def test_a_series_is_not_read_ahead(self):
        def endless():
            while True:
                yield PIXELS

        things, many = listed(endless())
        assert many
        assert next(things)[0] is PIXELS


def test_arrays_of_tensors():
    assert to_array(torch.ones(2, requires_grad=True), "x").tolist() == [1, 1]
    with pytest.raises(UserError, match="meta"):
        to_array(torch.ones(2, device="meta"), "x")
