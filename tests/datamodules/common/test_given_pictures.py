import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.given_pictures import as_image, listed, to_array
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
