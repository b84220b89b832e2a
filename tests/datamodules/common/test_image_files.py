import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch.distributed
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError, find_images, read_image, unreadable_images
from tests.helpers.image_files import AWKWARD, pixels, save_awkward, save_photo, save_photos, truncate
from tests.helpers.processes import two_processes


def test_images_are_found_at_every_depth_and_sorted(tmp_path):
    names = ["b.jpg", "a/10.PNG", "a/2.JPEG", "a/deep/er/x.tiff", "Z.webp"]
    for name in names:
        save_photo(tmp_path / name)
    for stray in [".DS_Store", "._b.jpg", "Thumbs.db", "a/notes.txt", ".hidden/x.jpg"]:
        (tmp_path / stray).parent.mkdir(exist_ok=True)
        (tmp_path / stray).write_bytes(b"x")
    assert find_images(tmp_path) == sorted(tmp_path / name for name in names)
    assert find_images(str(tmp_path), suffixes=[".webp"]) == [tmp_path / "Z.webp"]


def test_linked_folders_are_followed_once(tmp_path):
    save_photo(tmp_path / "elsewhere" / "x.jpg")
    root = tmp_path / "root"
    save_photo(root / "y.jpg")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    assert [path.name for path in find_images(root)] == ["x.jpg", "y.jpg"]


def test_a_root_without_images_says_why(tmp_path, monkeypatch):
    with pytest.raises(DatasetNotFoundError, match="the folder itself"):
        find_images(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetNotFoundError, match="this is a file"):
        find_images(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"it is empty(?s:.*)--data\.init_args\.root"):
        find_images(tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(DatasetNotFoundError, match="1 other file"):
        find_images(tmp_path / "empty")

    save_photo(tmp_path / "closed" / "x.jpg")
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "closed":  # root may list every folder, so the refusal is staged
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetNotFoundError, match=r"Permission denied(?s:.*)Make the folder .*closed readable"):
        find_images(tmp_path)


@pytest.mark.parametrize("name", AWKWARD)
def test_every_mode_is_read_as_rgb(tmp_path, name):
    path = save_awkward(tmp_path / name)
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == Image.open(path).size


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_with_rounding(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    expected = np.round(values / 257).astype(np.uint8)
    assert np.array_equal(np.asarray(read_image(tmp_path / f"x.{suffix}")), np.repeat(expected[..., None], 3, 2))


def test_a_sixteen_bit_pgm_equals_its_png(tmp_path):
    values = np.arange(0, 65536, 977, dtype=np.uint16)[None]
    header = f"P5 {values.shape[1]} 1 65535\n".encode()
    (tmp_path / "x.pgm").write_bytes(header + values.astype(">u2").tobytes())
    Image.fromarray(values).save(tmp_path / "x.png")
    assert np.array_equal(np.asarray(read_image(tmp_path / "x.pgm")), np.asarray(read_image(tmp_path / "x.png")))


def test_transparent_pixels_are_white_and_half_transparent_ones_are_mixed(tmp_path):
    Image.fromarray(np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 51]]], dtype=np.uint8)).save(
        tmp_path / "x.png"
    )
    assert np.asarray(read_image(tmp_path / "x.png"))[0].tolist() == [[255] * 3, [0] * 3, [204] * 3]


def test_exif_orientation_only_on_demand(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(pixels(10, 20)).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").size == (20, 10)
    assert read_image(tmp_path / "x.jpg", upright=True).size == (10, 20)


def break_file(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.png"
    if kind == "truncated jpeg":
        return truncate(save_photo(folder / "truncated.jpg", 200, 200))
    if kind == "truncated png":
        return truncate(save_photo(path, 200, 200))
    if kind == "float":
        Image.fromarray(np.zeros((2, 2), np.float32)).save(folder / "float.tif")
        return folder / "float.tif"
    if kind == "32 bit":
        Image.fromarray(np.full((2, 2), 70000, np.int32)).save(folder / "deep.tif")
        return folder / "deep.tif"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes({"empty": b"", "text": b"<html>404</html>", "header only": b"\x89PNG\r\n\x1a\n"}[kind])
    return path


@pytest.mark.timeout(20)
def test_what_is_no_file_is_told_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImageError, match=r"pipe\.jpg: it is no file"):
        read_image(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableImageError, match=r"link\.jpg: it is a link to .*gone\.jpg, which is not there"):
        read_image(tmp_path / "link.jpg")


def test_a_decompression_bomb_is_named_with_its_limit(tmp_path, monkeypatch):
    path = save_photo(tmp_path / "x.png", 100, 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match=r"x\.png: .* 2,000 pixels\. .*MAX_IMAGE_PIXELS") as error:
        read_image(path)
    assert error.value.fault == f"cannot read the image {path}: it is larger than Pillow decodes, 2,000 pixels"


def test_a_photograph_of_a_phone_that_is_not_read_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setattr("datamodules.common.image_files.can_read_phones", lambda: False)
    with pytest.raises(UnreadableImageError, match=r"x\.heic.*pip install 'visionscapes\[heic\]'"):
        read_image(tmp_path / "x.heic")


def test_the_first_picture_of_several_is_read(tmp_path):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for suffix in ["gif", "webp", "tif", "apng", "avif", "mpo"]:
        first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second])
        red, _, blue = np.asarray(read_image(tmp_path / f"x.{suffix}"))[4, 4].tolist()
        assert red > 200 > 55 > blue, suffix


BROKEN = ["truncated jpeg", "truncated png", "float", "32 bit", "folder", "missing", "empty", "text", "header only"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_the_way_out(tmp_path, kind):
    path = break_file(kind, tmp_path)
    with pytest.raises(UnreadableImageError, match="skip_unreadable=true") as error:
        read_image(path)
    assert str(error.value).startswith(f"cannot read the image {path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_gives_another_exception(tmp_path):
    random = np.random.default_rng(0)
    for suffix in ["png", "jpg", "gif", "bmp", "tif", "webp"]:
        whole = save_photo(tmp_path / f"whole.{suffix}").read_bytes()
        for _ in range(30):
            damaged = bytearray(whole)
            for position in random.integers(0, len(whole), 8):
                damaged[position] = random.integers(256)
            (tmp_path / f"x.{suffix}").write_bytes(damaged)
            with contextlib.suppress(UnreadableImageError):
                assert read_image(tmp_path / f"x.{suffix}").mode == "RGB"


def test_unreadable_images_are_exactly_those_that_read_image_refuses(tmp_path):
    good = save_photos(tmp_path, 20) + [save_awkward(tmp_path / "awkward" / name) for name in AWKWARD]
    bad = [break_file(kind, tmp_path) for kind in BROKEN]
    mixed = [path for pair in zip(good, bad, strict=False) for path in pair] + good[len(bad) :]
    assert unreadable_images(mixed) == bad
    assert unreadable_images([]) == []


class Unreadable(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return read_image("/nowhere/x.png")


def test_the_message_survives_a_loading_process():
    with pytest.raises(UnreadableImageError) as error:
        next(iter(DataLoader(Unreadable(), num_workers=1)))
    assert str(error.value).startswith("cannot read the image /nowhere/x.png: No such file")
    assert "Traceback" not in str(error.value)


def search_in_a_process(rank, root, meeting):
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    bad = unreadable_images(find_images(root))
    meeting.with_name(f"found-{rank}.txt").write_text("\n".join(map(str, bad)))
    torch.distributed.destroy_process_group()


def test_processes_agree_on_the_unreadable_images(tmp_path):
    save_photos(tmp_path / "images", 5)
    bad = [truncate(save_photo(tmp_path / "images" / "bad" / f"{k}.png", 100, 100)) for k in range(6)]
    two_processes(search_in_a_process, tmp_path / "images", tmp_path / "meeting")
    for rank in range(2):
        assert (tmp_path / f"found-{rank}.txt").read_text().split("\n") == list(map(str, bad))
