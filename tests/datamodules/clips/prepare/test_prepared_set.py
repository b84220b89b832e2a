import os
import signal
from pathlib import Path

import pytest

from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.prepare import prepared_set
from datamodules.clips.prepare.offsets import OutOfSyncError
from datamodules.clips.prepare.prepared_set import PreparedSet, cannot_write, check_writable, in_shard
from datamodules.clips.prepare.preparing import PrepareOptions
from datamodules.clips.prepare.trees import ClipSource
from metrics.lip_sync import SyncScore
from tests.helpers.prepared_clips import make_prepared_clip
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

OPTIONS = PrepareOptions(size=32)
ABOUT = {"frames": 10, "seen": 10, "interpolated": 0, "without_face": 0, "damaged_packets": 0, "sound": "there"}


def stand_in(source, target, options):
    """Prepare a clip as its name says."""
    what = source.video.stem.rstrip("0123456789")
    if what == "bad":
        raise ClipError(f"{source.video} shows no face", "no face")
    if what == "late":
        raise OutOfSyncError(f"{source.video} is late", SyncScore(7, 1.5, 0.5))
    if what == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "odd":
        raise ZeroDivisionError("by nought")
    if what == "full":
        raise OSError(28, "No space left on device")
    about = {"source": str(source.video), "bytes": source.video.stat().st_size, "settings": options.settings()}
    make_prepared_clip(target, 10, about=about | ABOUT | {"sync": None})
    return PreparedClip(target).about


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(prepared_set, "prepare_clip", stand_in)


def sources(root, *names):
    root.mkdir(exist_ok=True)
    for name in names:
        (root / f"{name}.mp4").write_bytes(name.encode())
    return [ClipSource(root / f"{name}.mp4", name) for name in names]


def prepare(tmp_path, clips, options=OPTIONS, retry=False, shard=None, workers=2):
    made = PreparedSet(tmp_path / "out", options, shard)
    jobs = made.waiting(in_shard(clips, shard), retry)
    made.run(jobs, workers, shown=False)
    return made, [job.source.name for job in jobs]


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_done_is_kept_and_what_is_left_out_is_told_once(tmp_path):
    clips = sources(tmp_path / "in", "a", "b", "bad", "killer", "late", "odd")
    made, done = prepare(tmp_path, clips)
    assert done == ["a", "b", "bad", "killer", "late", "odd"]
    assert sorted(made.rows) == ["a", "b"]
    assert made.reasons() == {"no face": 1, "crashed": 2, "out of sync": 1}
    assert list(made.offsets()) == [7]
    messages = {row["name"]: row["message"] for row in made.left_out.values()}
    assert "killed, perhaps for lack of memory" in messages["killer"]
    assert messages["odd"].startswith(f"{tmp_path}/in/odd.mp4: ZeroDivisionError('by nought') in test_prepared_set.py")
    before = everything(tmp_path / "out")
    assert sorted(before) == ["a.safetensors", "b.safetensors", "left_out.csv", "manifest.csv"]
    made, done = prepare(tmp_path, clips)
    assert done == []
    assert (made.there, made.known, len(made.left_out)) == (2, 4, 4)
    assert everything(tmp_path / "out") == before
    _, done = prepare(tmp_path, clips, retry=True)
    assert done == ["bad", "killer", "late", "odd"]
    assert everything(tmp_path / "out") == before


def test_other_settings_and_other_files_are_prepared_anew(tmp_path):
    clips = sources(tmp_path / "in", "a", "b", "bad")
    prepare(tmp_path, clips)
    clips[0].video.write_bytes(b"another")
    made, done = prepare(tmp_path, clips)
    assert (made.replaced, done) == (1, ["a"])
    made, done = prepare(tmp_path, clips, PrepareOptions(size=48))
    assert (made.replaced, done) == (2, ["a", "b", "bad"])  # which another size might help, for all anybody knows
    target = tmp_path / "out" / "a.safetensors"
    for damage in (lambda: target.write_bytes(b"damaged"), lambda: target.write_bytes(target.read_bytes()[:-1])):
        damage()
        made, done = prepare(tmp_path, clips, PrepareOptions(size=48))
        assert (made.replaced, done) == (1, ["a"])
    make_prepared_clip(target, about={"source": "of another program"})
    made, done = prepare(tmp_path, clips, PrepareOptions(size=48))
    assert (made.replaced, done) == (1, ["a"])


def test_shards_are_disjoint_complete_and_stay_when_clips_come_and_go():
    clips = [ClipSource(Path(f"{index}.mp4"), f"clip/{index}") for index in range(200)]
    shards = [[clip.name for clip in in_shard(clips, (number, 7))] for number in range(1, 8)]
    assert sorted(name for shard in shards for name in shard) == sorted(clip.name for clip in clips)
    assert all(10 < len(shard) < 50 for shard in shards)
    for number, shard in enumerate(shards, 1):
        fewer = [clip.name for clip in in_shard(clips[50:150:3], (number, 7))]
        assert set(fewer) <= set(shard)
    assert in_shard(clips, None) == clips


def test_shards_have_records_of_their_own_and_make_what_one_run_makes(tmp_path):
    clips = sources(tmp_path / "in", "a", "b", "c", "d", "bad1", "bad2")
    for number in (1, 2):
        prepare(tmp_path, clips, shard=(number, 2))
    sharded = everything(tmp_path / "out")
    assert {"left_out.1-of-2.csv", "manifest.2-of-2.csv"} < set(sharded)
    made, done = prepare(tmp_path, clips)
    assert done == []
    assert (made.there, made.known) == (4, 2)
    clips = {name: content for name, content in sharded.items() if name.endswith(".safetensors")}
    assert clips.items() <= everything(tmp_path / "out").items()


def test_records_keep_the_clips_that_came_from_elsewhere(tmp_path):
    prepare(tmp_path, sources(tmp_path / "one", "a", "bad1"))
    prepare(tmp_path, sources(tmp_path / "two", "b", "bad2"))
    (tmp_path / "out" / "a.safetensors").unlink()
    manifest = (tmp_path / "out" / "manifest.csv").read_text()
    assert "one/a.mp4" in manifest
    assert "two/b.mp4" in manifest
    assert (tmp_path / "out" / "left_out.csv").read_text().count("shows no face") == 2
    prepare(tmp_path, sources(tmp_path / "two", "b"))
    assert "one/a.mp4" not in (tmp_path / "out" / "manifest.csv").read_text()


def test_what_a_killed_process_left_is_removed_but_not_what_others_write(tmp_path):
    clips = sources(tmp_path / "in", "a", "sub")
    out = tmp_path / "out"
    out.mkdir()
    dead, alive = 10**9, os.getppid()
    mine = {f".a.safetensors.{dead}.partial", f".a.safetensors.{10**20}.partial", f".manifest.csv.{dead}.partial"}
    others = {f".ab.safetensors.{dead}.partial", ".x.partial", f".a.safetensors.{alive}.partial"}
    for name in mine | others:
        (out / name).touch()
    prepare(tmp_path, clips)
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == others


def test_a_full_disk_ends_it_with_a_remedy_and_the_records_are_written(tmp_path):
    clips = sources(tmp_path / "in", "a", "full")
    with pytest.raises(UserError, match=r"full\.safetensors cannot be written: No space left.*; free some space"):
        prepare(tmp_path, clips, workers=1)
    assert "in/a.mp4" in (tmp_path / "out" / "manifest.csv").read_text()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_done(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/out cannot be written: Not a directory"):
        check_writable(tmp_path / "file" / "out")
    check_writable(tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []
    assert str(cannot_write(tmp_path, OSError(30, "Read-only file system"))) == (
        f"{tmp_path} cannot be written: Read-only file system; make the folder writable"
    )
