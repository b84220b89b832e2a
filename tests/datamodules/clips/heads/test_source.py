import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.heads.source import files_at, is_picture, shots_of
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError
from datamodules.common.image_kinds import picture_suffixes
from tests.helpers.dubbing import nobody, person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import MARGIN, photograph, picture
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

HOW = {"most": 4, "margin": MARGIN}


def nothing(path):
    Image.fromarray(nobody(1)[0]).save(path)
    return str(path)


@needs_face_files
def test_a_photograph(tmp_path):
    shots = shots_of(str(photograph(tmp_path / "mé 1.jpg")), 48, **HOW)
    assert (shots.name, len(shots), shots.images.shape, shots.landmarks.shape) == (
        "mé 1",
        1,
        (1, 3, 48, 48),
        (1, 68, 2),
    )
    assert shots.notes == ("1 picture of the source", "mé 1.jpg: a face")
    assert shots.warnings == ()
    drawn = np.asarray(Image.open(tmp_path / "mé 1.jpg").resize((48, 48))).astype(float)
    assert np.abs(drawn - shots.images[0].permute(1, 2, 0).numpy()).mean() < 30, "head and shoulders stay what they are"
    middle = shots.landmarks[0].mean(0)
    assert np.abs(middle - 24).max() < 6


@needs_face_files
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_exif(tmp_path, orientation):
    upright = Image.fromarray(picture())
    stored = upright
    if orientation > 1:
        undone_by = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # flips, turns and transpositions of Pillow
        stored = upright.transpose(Image.Transpose(undone_by))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    upright.save(tmp_path / "b.png")
    turned, straight = (shots_of(str(tmp_path / name), 48, **HOW) for name in ("a.png", "b.png"))
    assert np.array_equal(turned.images.numpy(), straight.images.numpy())


@needs_face_files
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".png", "L"), (".png", "P"), (".png", "RGBA"), (".webp", "RGB"), (".tiff", "CMYK"), ("", "RGB")],
)
def test_kinds_of_pictures(tmp_path, suffix, mode):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(picture()).convert(mode).save(path, format=None if suffix else "PNG")
    assert len(shots_of(str(path), 32, **HOW)) == 1


@needs_face_files
def test_several_photographs_of_which_some_are_none(tmp_path):
    for number in range(3):
        photograph(tmp_path / "me" / f"{number}.png")
    nothing(tmp_path / "me" / "nobody.png")
    (tmp_path / "me" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "me" / "list.txt").write_bytes(b"no picture")
    shots = shots_of(str(tmp_path / "me"), 32, most=9, margin=MARGIN)
    assert (shots.name, len(shots)) == ("me", 3)
    assert shots.notes[0] == "3 pictures of the source"
    assert shots.notes[-1] == "that all pictures show one person is not checked"
    assert any("nobody.png shows no face" in each for each in shots.warnings)
    assert any("broken.jpg" in each and "skip_unreadable" not in each for each in shots.warnings)
    spread = shots_of(str(tmp_path / "me" / "[0-2].png"), 32, most=2, margin=MARGIN)
    assert (len(spread), spread.notes[0]) == (2, "2 pictures of the source, of 2 that were looked at, spread over 3")
    assert len(shots_of([str(tmp_path / "me" / f"{k}.png") for k in (0, 0, 2)], 32, **HOW)) == 2


@needs_face_files
def test_of_two_faces_the_largest_or_the_one_asked_for(tmp_path):
    small, large = picture(1, 128), picture(2, 200)
    both = np.full((200, 328, 3), 120, np.uint8)
    both[36:164, :128], both[:, 128:] = small, large
    path = tmp_path / "two.png"
    Image.fromarray(both).save(path)
    shots = shots_of(str(path), 48, **HOW)
    assert "two.png: face 1 of 2, the largest" in shots.notes
    assert "two.png shows 2 faces: face 1 of 2, the largest, is taken; --data.faces.choose=0" in shots.warnings[0]
    first = shots_of(str(path), 48, **HOW, faces=FaceOptions(choose=0))
    assert "two.png: face 1 of 2, counted from the left" in first.notes
    assert not np.array_equal(first.images, shots.images)
    with pytest.raises(ClipError, match=r"shows 2 faces, and none of the number 5: .*--data\.faces\.choose=0"):
        shots_of(str(path), 48, **HOW, faces=FaceOptions(choose=5))


@needs_face_files
def test_a_single_face_is_the_one_whatever_the_number_that_another_picture_asks_for(tmp_path):
    path = str(photograph(tmp_path / "a.png"))
    usual, numbered = shots_of(path, 48, **HOW), shots_of(path, 48, **HOW, faces=FaceOptions(choose=1))
    assert torch.equal(numbered.images, usual.images)
    assert numbered.notes[-1] == "a.png: a face"
    with pytest.raises(ClipError, match=r"b\.png shows no face: "):
        shots_of(nothing(tmp_path / "b.png"), 48, **HOW, faces=FaceOptions(choose=1))


@needs_face_files
@pytest.mark.skipif(".heic" in picture_suffixes(), reason="this Pillow reads them")
def test_photographs_of_phones_that_are_not_read_are_told(tmp_path):
    photograph(tmp_path / "me" / "a.png")
    (tmp_path / "me" / "b.HEIC").write_bytes(b"not read")
    shots = shots_of(str(tmp_path / "me"), 32, **HOW)
    assert any("b.HEIC: photographs of phones" in s and "Or save them as JPEG" in s for s in shots.warnings)
    with pytest.raises(UnreadableImageError, match="Or save them as JPEG"):
        shots_of(str(tmp_path / "me" / "b.HEIC"), 32, **HOW)
    assert is_picture(tmp_path / "b.heif")


@needs_face_files
def test_frames_of_a_video(tmp_path):
    video = video_of(tmp_path / "a.mp4", nobody(3), person(1, 12), sound=None)
    shots = shots_of(str(video), 32, **HOW)
    assert len(shots) == 4
    assert shots.notes[0].startswith("4 frames of a.mp4 are the source: a face in 12 of 15 frames")
    assert len(shots_of(str(video), 32, most=50, margin=MARGIN)) == 12, "those with a face alone"
    assert len(shots_of(str(tmp_path), 32, **HOW)) == 4
    cut = video_of(tmp_path / "cut.mp4", person(1, 6), nobody(1)[:, ::-1].repeat(8, 0), person(2, 6), sound=None)
    assert any(
        " cuts: see to it that all of its shots show one person" in s for s in shots_of(str(cut), 32, **HOW).warnings
    )


@needs_face_files
def test_what_is_no_source_is_told(tmp_path):
    for empty in ("", [], [""]):
        with pytest.raises(DatasetNotFoundError, match="Missing: a name: it is empty"):
            shots_of(empty, 32, **HOW)
    with pytest.raises(ClipError, match=r"a\.png shows no face: name a picture in which"):
        shots_of(nothing(tmp_path / "a.png"), 32, **HOW)
    nothing(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"None of 2 pictures of the source can be used\. The first: .*a\.png"):
        shots_of(str(tmp_path / "*.png"), 32, **HOW)
    (tmp_path / "c.jpg").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"c\.jpg: the file is empty\. Replace it, or leave it out\."):
        shots_of(str(tmp_path / "c.jpg"), 32, **HOW)
    (tmp_path / "c").write_bytes(b"neither")
    with pytest.raises(ClipError, match="cannot be read as video"):
        shots_of(str(tmp_path / "c"), 32, **HOW)


def test_where_there_is_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("nowhere", "empty", "*.jpg"):
        with pytest.raises(DatasetNotFoundError, match=r"(?s)The source was not found.*--data\.source"):
            files_at(str(tmp_path / place))
    for name in "ab":
        (tmp_path / "empty" / f"{name}.mp4").touch()
    with pytest.raises(UserError, match="holds 2 videos and no picture"):
        files_at(str(tmp_path / "empty"))


def test_a_name_with_brackets_is_a_name(tmp_path):
    assert files_at(str(photograph(tmp_path / "me [1].png"))) == [tmp_path / "me [1].png"]


def test_what_is_a_picture(tmp_path):
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif"} <= set(picture_suffixes())
    assert ".mpg" not in picture_suffixes()
    plain = photograph(tmp_path / "a.png").rename(tmp_path / "a")
    assert is_picture(plain)
    (tmp_path / "b").write_bytes(b"text")
    assert not is_picture(tmp_path / "b")
    assert is_picture(tmp_path / "broken.JPG")
    assert not is_picture(tmp_path / "clip.MP4")


def test_a_picture_without_suffix_that_is_too_large_is_told_as_a_picture(tmp_path, monkeypatch):
    place = tmp_path / "huge"
    Image.new("RGB", (64, 64)).save(place, "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    assert is_picture(place)
    with pytest.raises(UserError, match=r"cannot read the image .*huge.*larger than Pillow decodes"):
        shots_of(str(place), 32, most=1, margin=MARGIN, faces=FaceOptions())
