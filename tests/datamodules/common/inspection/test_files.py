import numpy as np
import pytest
from PIL import Image

from datamodules.common.inspection.contents import Opened, PartContents, picture_files
from datamodules.common.inspection.files import copies, findings_between, findings_of_files, look_at_files
from tests.helpers.image_files import save_photo, truncate


@pytest.fixture
def part(tmp_path):
    """Ten photographs, of which one is broken, one plain, one small, and one there three times with two labels."""
    paths = [save_photo(tmp_path / f"{k}.png", 50, 40, seed=min(k, 7)) for k in range(10)]
    truncate(save_photo(paths[0], 200, 200))
    Image.new("RGB", (50, 40), "red").save(paths[1])
    save_photo(paths[2], 50, 20, seed=2)
    return picture_files(paths, classes=["cat", "dog"], labels=[0] * 9 + [1])


def texts(findings):
    return [(finding.level, finding.text) for finding in findings]


def test_each_fault_is_found_once(part):
    stored = look_at_files("train", part, None)
    assert (stored.count, len(stored.positions), len(stored.sizes)) == (10, 10, 9)
    assert list(stored.faults) == [part.names[0]]
    assert list(stored.plain) == [part.names[1]]
    assert copies(stored) == [[7, 8, 9]]
    findings = list(findings_of_files("train", part, stored))
    assert texts(findings) == [
        ("error", "1 of 10 samples cannot be read"),
        ("warning", "1 pictures have one colour throughout"),
        ("warning", "1 pictures have a side of fewer than 32 pixels"),
        ("warning", "2 pictures are copies of others in the same part"),
        ("warning", "1 pictures are there more than once, with different labels"),
    ]
    assert findings[0].examples[0].startswith(f"cannot read the image {part.names[0]}: ")
    assert "skip_unreadable" not in findings[0].examples[0], "what to do is said once, not for each file"
    assert findings[4].examples == (" = ".join(f"{part.names[k]} ({'dog' if k == 9 else 'cat'})" for k in (7, 8, 9)),)


def test_sound_files_give_no_finding(tmp_path):
    part = picture_files([save_photo(tmp_path / f"{k}.png", 50, 40, seed=k) for k in range(3)])
    assert list(findings_of_files("train", part, look_at_files("train", part, None))) == []


@pytest.mark.parametrize(("most", "read"), [(None, range(10)), (3, [0, 4, 9]), (1, [0]), (99, range(10))])
def test_a_part_of_the_files_is_spread_evenly(part, most, read):
    stored = look_at_files("train", part, most)
    assert stored.positions.tolist() == list(read)
    assert stored.count == 10


def test_no_files_are_no_mistake_here():
    stored = look_at_files("val", picture_files([]), None)
    assert (stored.count, len(stored.sizes)) == (0, 0)
    assert list(findings_of_files("val", picture_files([]), stored)) == []


def test_what_two_parts_share_is_found(tmp_path):
    parts = {
        "train": picture_files([save_photo(tmp_path / f"t{k}.png", seed=k) for k in range(3)]),
        "val": picture_files([save_photo(tmp_path / f"v{k}.bmp", seed=k) for k in (2, 5)]),
        "test": picture_files([save_photo(tmp_path / "x.png", seed=9)]),
    }
    stored = {name: look_at_files(name, part, None) for name, part in parts.items()}
    (finding,) = findings_between(stored)
    assert (finding.level, finding.part) == ("warning", "train and val")
    assert finding.text.startswith("1 pictures of val are in train too")
    assert finding.examples == (f"{tmp_path}/t2.png = {tmp_path}/v2.bmp",)


def test_pixels_of_label_maps_are_counted():
    def open_sample(position):
        return Opened((4, 4), bytes([position]), label_pixels=np.bincount([0, position], minlength=256))

    part = PartContents(["a", "b", "c"], open=open_sample, classes=["none", "hair", "skin"], maps=True)
    assert look_at_files("train", part, None).label_pixels.tolist() == [4, 1, 1]


def test_pixels_without_a_label_are_told():
    def open_map(position):
        return Opened((4, 4), bytes([position]), label_pixels=np.bincount([0, 1, 1, 255], minlength=256))

    part = PartContents(["a", "b"], open_map, classes=["x", "y", "z"], maps=True)
    stored = look_at_files("train", part, None)
    assert (stored.label_pixels.tolist(), stored.unlabelled) == ([2, 4, 0], 2)
    assert "25.0% of the pixels of label maps have no label (ignore_label)" in [
        finding.text for finding in findings_of_files("train", part, stored)
    ]
