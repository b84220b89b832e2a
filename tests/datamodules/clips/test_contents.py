import pytest

from datamodules import Clips
from datamodules.clips.clip_files import ClipFiles
from datamodules.clips.contents import clip_contents
from datamodules.common.inspection.inspect_data import inspect_data
from tests.helpers.prepared_clips import make_prepared_clip
from visionscapes.errors import UserError


def test_clips_are_read_whole(tmp_path):
    paths = [tmp_path / f"{k}.safetensors" for k in range(2)]
    for number, path in enumerate(paths):
        make_prepared_clip(path, frames=10 + 10 * number, seed=number)
    part = clip_contents(ClipFiles(paths, ["a", "b"]))
    assert part.names == [str(path) for path in paths]
    assert part.open(0).size == (32, 32)
    assert part.open(0).digest != part.open(1).digest
    assert part.described == {"minutes": 0.0, "frames of a clip, median": 15.0, "folders": 1}


def test_a_flipped_bit_in_a_frame_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    make_prepared_clip(path, frames=12)
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 400, len(content), 40):
        content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.safetensors"):
        clip_contents(ClipFiles([path], ["a"])).open(0)


def test_a_folder_of_clips_is_looked_over(tmp_path):
    for number in range(6):
        make_prepared_clip(tmp_path / f"person{number}" / "a.safetensors", frames=20, seed=number % 5)
    report = inspect_data(Clips(str(tmp_path), batch_size=2, num_workers=0, val_share=0.4))
    assert report.errors == []
    assert set(report.stored) == {"train", "val"}
    assert sum(stored.count for stored in report.stored.values()) == 6
    assert any("copies" in str(finding) or "are in train too" in str(finding) for finding in report.warnings)
