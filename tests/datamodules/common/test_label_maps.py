import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from datamodules.common.image_files import UnreadableImageError
from datamodules.common.label_maps import (
    CELEBA_FLIP_PAIRS,
    CELEBA_MASK_NAMES,
    FACE_PARTS,
    check_same_shape,
    flip_labels,
    merge_masks,
    read_labels,
    resize_labels,
)
from networks.gan.conditions import UNLABELLED
from tests.helpers.image_files import pixels, truncate
from tests.helpers.replicas_translation import make_label_map
from visionscapes.errors import UserError


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB"])
def test_the_values_are_the_labels_in_every_mode(tmp_path, mode):
    written = make_label_map(tmp_path / "x.png", mode=mode)
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == mode
    labels = read_labels(tmp_path / "x.png", 4)
    assert labels.dtype == np.uint8
    assert (labels == written).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits_holds_the_labels_themselves(tmp_path, bits):
    values = np.random.default_rng(0).integers(0, min(2**bits, 19), (5, 8)).astype(np.uint8)
    path = tmp_path / "a.png"
    write_png(path, np.packbits(_bits(values, bits), axis=1).tobytes(), (8, 5), bits, colour=0)
    assert np.array_equal(read_labels(path, 19), values)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_channels_of_16_bits_are_refused(tmp_path, colour, channels):
    values = np.full((5, 8, channels), 0xFFFF, ">u2")
    values[..., :3] = 7
    path = tmp_path / "a.png"
    write_png(path, values.reshape(5, -1).view(np.uint8).tobytes(), (8, 5), 16, colour=colour)
    with pytest.raises(UserError, match=r"several channels with 16 bits each.*grey or palette PNG"):
        read_labels(path, 19)


def _bits(values, bits):
    return np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(len(values), -1)


def write_png(path, content, size, bits, colour):
    """Write a PNG as no library does, of rows that follow one another."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = len(content) // size[1]
    rows = b"".join(b"\0" + content[at : at + row] for at in range(0, len(content), row))
    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_bilevel_and_opaque_label_maps_are_read(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bilevel.png")
    assert read_labels(tmp_path / "bilevel.png", 2).tolist() == [[1, 0]]
    Image.fromarray(np.array([[[3, 255], [1, 255]]], np.uint8)).save(tmp_path / "opaque.png")  # mode LA
    assert read_labels(tmp_path / "opaque.png", 4).tolist() == [[3, 1]]


def test_colours_are_refused_because_their_meaning_is_unknown(tmp_path):
    Image.fromarray(pixels(4, 4)).save(tmp_path / "colours.png")
    with pytest.raises(UserError, match=r"colours\.png is a colour image \(mode RGB, 3 channels.*grey or palette PNG"):
        read_labels(tmp_path / "colours.png", 256)


def test_transparent_pixels_jpegs_and_floats_are_refused(tmp_path):
    Image.fromarray(np.array([[[3, 255], [1, 0]]], np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png is transparent"):
        read_labels(tmp_path / "x.png", 4)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.jpg")
    with pytest.raises(UserError, match=r"x\.jpg is a JPEG.*PNG"):
        read_labels(tmp_path / "x.jpg", 4)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif has floating-point"):
        read_labels(tmp_path / "x.tif", 4)


def test_labels_out_of_range_are_named_with_the_file_and_the_classes(tmp_path):
    Image.fromarray(np.array([[0, 3, 18, 19]], np.uint8)).save(tmp_path / "x.png")
    assert read_labels(tmp_path / "x.png", 20).max() == 19
    with pytest.raises(UserError, match=r"x\.png holds the labels 0, 3, 18, 19, but there are 19 classes.* 0 to 18"):
        read_labels(tmp_path / "x.png", 19)
    Image.fromarray(np.arange(100, dtype=np.uint8)[None]).save(tmp_path / "many.png")
    with pytest.raises(UserError, match=r"0, 1, 2, 3, 4, 5, 6, 7, \.\.\. 99"):
        read_labels(tmp_path / "many.png", 19)
    Image.fromarray(np.array([[1, 65535]], np.uint16)).save(tmp_path / "deep.png")  # 65535 would be 255 as a byte
    with pytest.raises(UserError, match="1, 65535"):
        read_labels(tmp_path / "deep.png", 256)


def test_a_binary_mask_gets_its_own_remedy(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="store the mask as 0 and 1"):
        read_labels(tmp_path / "x.png", 19)


def test_broken_files_are_unreadable(tmp_path):
    make_label_map(tmp_path / "cut.png", 200, 200)
    truncate(tmp_path / "cut.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.png", "empty.png", "text.png", "missing.png"):
        with pytest.raises(UnreadableImageError, match=f"cannot read the label map .*{name}: .*Replace or remove"):
            read_labels(tmp_path / name, 19)


def test_resizing_takes_the_label_at_the_centre_of_each_pixel():
    labels = np.arange(6, dtype=np.uint8)[None].repeat(6, 0)
    assert resize_labels(labels, 3)[0].tolist() == [1, 3, 5]  # centres at 1, 3 and 5; "nearest" of torch: 0, 2, 4
    assert resize_labels(labels, 2)[0].tolist() == [1, 4]
    exact = torch.nn.functional.interpolate(torch.from_numpy(labels)[None, None].float(), 4, mode="nearest-exact")
    assert (resize_labels(labels, 4) == exact[0, 0].numpy()).all()


def test_resizing_makes_no_new_labels():
    labels = np.random.default_rng(0).choice(np.array([0, 7, 18], np.uint8), (37, 53))
    resized = resize_labels(labels, 16)
    assert resized.shape == (16, 16)
    assert set(np.unique(resized)) <= {0, 7, 18}


def test_the_names_are_those_of_the_official_order():
    assert len(CELEBA_MASK_NAMES) == 19
    assert CELEBA_MASK_NAMES[0] == "background"
    assert list(FACE_PARTS) == list(CELEBA_MASK_NAMES[1:])
    assert [CELEBA_MASK_NAMES[label] for label in (1, 3, 12, 13, 14, 15, 16, 18)] == [
        *("skin", "eye_g", "l_lip", "hair", "hat", "ear_r", "neck_l", "cloth")
    ]


def test_only_eyes_brows_and_ears_change_sides_in_a_flip():
    pairs = [(CELEBA_MASK_NAMES[left], CELEBA_MASK_NAMES[right]) for left, right in CELEBA_FLIP_PAIRS]
    assert pairs == [("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear")]
    labels = np.arange(19, dtype=np.uint8)[None]
    swapped = [18, 17, 16, 15, 14, 13, 12, 11, 10, 8, 9, 6, 7, 4, 5, 3, 2, 1, 0]
    assert flip_labels(labels)[0].tolist() == swapped
    assert flip_labels(labels, ())[0].tolist() == list(range(18, -1, -1))
    assert flip_labels(labels, [(0, 18)])[0].tolist()[::18] == [0, 18]


@given(arrays(np.uint8, (2, 3, 5), elements=st.integers(0, 18)))
def test_flips_are_their_own_inverse_and_alike_for_arrays_and_tensors(labels):
    flipped = flip_labels(labels)
    assert flipped.dtype == np.uint8
    assert (flip_labels(flipped) == labels).all()
    for kind in (torch.uint8, torch.int64):
        tensor = flip_labels(torch.from_numpy(labels).to(kind))
        assert tensor.dtype == kind
        assert (tensor.numpy() == flipped).all()


def test_a_flip_leaves_what_it_was_given():
    labels = torch.tensor([[4, 5]], dtype=torch.uint8)
    flip_labels(labels)
    assert labels.tolist() == [[4, 5]]


@pytest.mark.parametrize(
    ("image", "labels"), [((1024, 1024), (512, 512)), ((1000, 667), (100, 67)), ((30, 40), (3, 4))]
)
def test_sizes_with_one_aspect_ratio_fit(tmp_path, image, labels):
    check_same_shape(image, labels, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("image", "labels"), [((100, 100), (102, 100)), ((100, 100), (100, 102)), ((40, 30), (30, 40))]
)
def test_sizes_with_different_aspect_ratios_are_refused(tmp_path, image, labels):
    with pytest.raises(UserError, match=r"a\.jpg has \d+ x \d+ pixels and .*a\.png \d+ x \d+: their aspect ratios"):
        check_same_shape(image, labels, tmp_path / "a.jpg", tmp_path / "a.png")


def test_masks_lie_on_each_other_by_their_labels(tmp_path):
    masks = {3: np.array([[0, 255, 255]]), 5: np.array([[0, 0, 255]])}
    for label, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"{label}.png")
    merged = merge_masks({label: tmp_path / f"{label}.png" for label in (5, 3)})
    assert merged.tolist() == [[0, 3, 5]]


@pytest.mark.parametrize(("classes", "ignored"), [(19, 255), (19, 0), (4, 3), (255, 65535)])
def test_pixels_whose_label_is_not_known(tmp_path, classes, ignored):
    written = np.array([[0, 1, 3], [ignored, 2, ignored]], np.uint16)
    Image.fromarray(written).save(tmp_path / "x.png")
    labels = read_labels(tmp_path / "x.png", classes, ignored)
    assert labels.dtype == np.uint8
    assert (labels == np.where(written == ignored, UNLABELLED, written)).all()


def test_other_labels_stay_errors_whose_remedy_names_the_option(tmp_path):
    Image.fromarray(np.array([[0, 3, 255]], np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"say which, --data\.init_args\.ignore_label=255"):
        read_labels(tmp_path / "x.png", 19)
    with pytest.raises(UserError, match=r"labels 0, 3, 255, but there are 3 classes.*right number as classes$"):
        read_labels(tmp_path / "x.png", 3, 255)
    with pytest.raises(UserError, match=r"say which \(ignore_label\)"):
        read_labels(tmp_path / "x.png", 3)


def test_resizing_to_a_width_and_height():
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert resize_labels(labels, (6, 2)).tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
