import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.prepare.__main__ import main
from datamodules.clips.prepare.offsets import measure
from datamodules.clips.prepare.records import read_records
from tests.helpers.replicas_clips import SIDE, make_lrw, make_voxceleb2, talking, write_media, write_talking
from tests.helpers.runs import ROOT

COMMAND = [sys.executable, "-m", "datamodules.clips.prepare"]
FRAMES = 8
QUICK = ["--size", "32", "--workers", "2"]


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(*words):
    return main([str(word) for word in (*words, *QUICK)])


def test_voxceleb2_comes_out_in_its_parts(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(make_voxceleb2(tmp_path / "in"), "--out", out) == 0
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.safetensors")) == [
        "test/id00017/01dfn2spqyE/00001.safetensors",
        "train/id00012/-ab_cdefghi/00039.safetensors",
        "train/id00012/-ab_cdefghi/00040.safetensors",
        "train/id00012/_xy-zabcdef/00041.safetensors",
        "train/id00015/0fijmz4vTVU/00001.safetensors",
    ]
    assert [row["frames"] for row in read_records(out / "manifest.csv")] == ["12", "12", "12", "9", "12"]
    assert "5 clips, 0.0 minutes; 0 left out" in capsys.readouterr().out
    first = everything(out)
    assert run(tmp_path / "in", "--out", out, "--first-utterance") == 0
    assert "4 clips; 4 are prepared, 0 to do" in capsys.readouterr().out
    assert everything(out) == first


def test_lrw_comes_out_in_its_parts_whatever_the_shards(tmp_path, capsys):
    clips, out = make_lrw(tmp_path / "in"), tmp_path / "out"
    for number in (1, 2, 3):
        assert run(clips, "--out", out, "--crop", "fixed", "--shard", f"{number}/3") == 0
    assert run(clips, "--out", out, "--crop", "fixed") == 0
    assert "6 clips; 6 are prepared, 0 to do" in capsys.readouterr().out
    lengths = {row["name"]: row["frames"] for row in read_records(out / "manifest.csv")}
    assert len(lengths) == 6
    assert (lengths["val/YEARS/YEARS_00001"], lengths["train/ABOUT/ABOUT_00001"]) == ("28", "29")


def damaged(path, source):
    """A video of which packets in the middle are overwritten."""
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(range(200)) * 2
    path.write_bytes(content)


def lying(path, source):
    """A video whose header claims that it lasts for days."""
    content = bytearray(source.read_bytes())
    duration = content.index(b"mvhd") + 20
    content[duration : duration + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(content)


@pytest.fixture(scope="module")
def odd_videos(tmp_path_factory):
    """Videos as users have them."""
    root = tmp_path_factory.mktemp("odd")
    images, audio = talking(1, 25)
    noise = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)
    good = write_talking(root / "good.mkv", 1, frames=25)
    write_media(root / "no face.mkv", noise, audio[: 12 * 640])
    write_media(root / "one frame.mp4", images[:1], audio[:640])
    write_media(root / 'it\'s "quoted".mp4', images, audio[: 25 * 640])
    write_media(root / "two\nlines.mp4", images, audio[: 25 * 640])
    write_media(root / "-dash.mp4", images, audio[: 25 * 640])
    write_talking(root / "mute.mp4", 1, sound=None)
    write_talking(root / "silence.mp4", 1, loud=0)
    damaged(root / "damaged.mkv", good)
    lying(root / "lying.mp4", root / "-dash.mp4")
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("this is no video")
    (root / "cut off.mp4").write_bytes((root / "-dash.mp4").read_bytes()[:3000])
    write_media(root / "sound only.mp4", None, audio)
    return root


def test_bad_videos_are_left_out_and_told_and_good_ones_are_prepared(odd_videos, tmp_path, capfd):
    out = tmp_path / "out"
    assert run(odd_videos, "--out", out) == 0
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err
    left = {row["name"]: row for row in read_records(out / "left_out.csv")}
    assert {name: row["reason"] for name, row in left.items()} == {
        "cut off": "unreadable",
        "empty": "unreadable",
        "mute": "no sound",
        "no face": "no face",
        "one frame": "too short",
        "sound only": "no video stream",
        "text": "unreadable",
    }
    for name, row in left.items():
        assert f"{name}.m" in row["message"], "the file is named"
        assert "\n" not in row["message"].replace("two\nlines", "")
    made = {row["name"]: row for row in read_records(out / "manifest.csv")}
    assert sorted(made) == ["-dash", "damaged", "good", 'it\'s "quoted"', "lying", "silence", "two_lines"]
    assert made["lying"]["frames"] == made["-dash"]["frames"] == "25"
    assert (made["silence"]["sound"], made["good"]["sound"]) == ("silence", "there")
    assert "7 left out" in told.out
    assert "  unreadable         3\n" in told.out
    assert "clips that are silent: 1" in told.out
    assert f"all are listed in {out}/left_out.csv" in told.out


def test_what_was_left_out_is_tried_again_with_other_settings(odd_videos, tmp_path):
    assert run(odd_videos / "mute.mp4", "--out", tmp_path) == 2
    assert run(odd_videos / "mute.mp4", "--out", tmp_path, "--sound", "if-there") == 0
    assert read_records(tmp_path / "left_out.csv") == []


def test_nothing_that_can_be_used_is_an_error(odd_videos, tmp_path, capsys):
    assert run(odd_videos / "text.mp4", "--out", tmp_path / "out") == 2
    assert "0 clips, 0.0 minutes; 1 left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "was not found"),
        (["{in}", "--shard", "0/4"], "--shard is '0/4'; it has to be such as 3/16, from 1/16 to 16/16"),
        (["{in}", "--shard", "3"], "--shard is '3'"),
        (["{in}", "--shard", "9" * 5000 + "/" + "9" * 5000], "--shard is '999"),
        (["{in}", "--faces.choose", "9" * 5000], "--faces.choose is '999"),
        ([""], "FOLDER is empty: name a folder"),
        (["{in}", "--out", ""], "--out is empty: name a folder"),
        (["{in}/*.nothing"], "A video was not found"),
        (["{in}", "--landmarks", "none"], "--landmarks is none, which is no folder"),
        (["{in}", "--faces.detector", "none.tflite"], "none.tflite"),
        (["{in}", "--workers", "0"], "--workers is 0; it has to be at least 1"),
        (["{in}", "--size", "3"], "--size is 3; it has to be between 16 and 4096"),
        (["{in}", "--faces.least_score", "7"], "--faces.least_score is 7.0"),
        (
            ["{in}", "--offsets", "drop"],
            "which are measured with a SyncNet only: give its weights with --sync",
        ),
        (["{in}", "--sync", "none.safetensors"], "--sync is 'none.safetensors', and there is no such file"),
        (["{in}", "--sync", "/dev/zero"], "--sync is '/dev/zero', and there is no such file"),
        (["{in}", "--sync", "x", "--largest-offset", "3"], 'choose "shift" or "drop"'),
        (["{in}", "--out", "{in}/good.mkv"], "good.mkv cannot be written: File exists; name another place"),
        (["{in}", "--out", "{in}/good.mkv/sub"], "good.mkv/sub cannot be written: Not a directory"),
    ],
)
def test_mistakes_are_told_in_a_line(odd_videos, tmp_path, capsys, words, message):
    words = [word.replace("{in}", str(odd_videos)) for word in words]
    out = [] if "--out" in words else ["--out", str(tmp_path / "out")]
    assert main([*QUICK, *out, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_is_read_only_is_told(odd_videos, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert run(odd_videos, "--out", tmp_path) == 2
    assert "Permission denied; make the folder writable" in capsys.readouterr().err


class Started:
    """The command in processes of its own: as a user starts it, or forked, which takes no time to import anything."""

    def __init__(self, *words, forked, log):
        self.log, words = log, [*map(str, words), *QUICK]
        self.process = None if forked else self._user(words)
        self.number = self._forked(words) if forked else self.process.pid

    def _user(self, words):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("w") as log:
            return subprocess.Popen([*COMMAND, *words], stdout=log, stderr=log, env=environment, start_new_session=True)

    def _forked(self, words):
        number = os.fork()
        if number:
            while os.getpgid(number) != number:  # which it makes itself
                time.sleep(0.001)
            return number
        os.setsid()
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # not those that pytest reads
        status = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def end(self, how, everywhere):
        """Send a signal, to all processes or the first one, and return the exit status."""
        (os.killpg if everywhere else os.kill)(self.number, how)
        if self.process is not None:
            return self.process.wait(60)
        return os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])


def videos(root, count):
    first = write_talking(root / "00.mkv", 1, frames=FRAMES)
    for number in range(1, count):
        (root / f"{number:02}.mkv").write_bytes(first.read_bytes())
    (root / "bad.mp4").touch()
    return root


def wait_for_clips(out, count):
    deadline = time.monotonic() + 120
    while sum(1 for _ in out.rglob("*.safetensors")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def unfinished(out):
    return [path for path in out.rglob("*") if path.is_file() and path.suffix not in (".safetensors", ".csv")]


def stopped(tmp_path, how, forked):
    out = tmp_path / "out"
    process = Started(videos(tmp_path / "in", 40), "--out", out, forked=forked, log=tmp_path / "log")
    wait_for_clips(out, 2)
    assert process.end(how, everywhere=how == signal.SIGINT) == 130
    lines = process.log.read_text().splitlines()
    assert lines[-1] == "stopped; what is done is kept: run the same command to go on"
    assert "Traceback" not in "".join(lines)
    assert unfinished(out) == []
    done = {path.stem for path in out.rglob("*.safetensors")}
    assert 2 <= len(done) < 40
    assert {row["name"] for row in read_records(out / "manifest.csv")} <= done
    for path in out.rglob("*.safetensors"):
        assert PreparedClip(path).images(range(FRAMES)).shape == (FRAMES, 32, 32, 3)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path, how):
    stopped(tmp_path, how, forked=True)


@pytest.mark.slow
def test_ctrl_c_does_so_for_the_command_that_users_start(tmp_path):
    stopped(tmp_path, signal.SIGINT, forked=False)


def killed_and_resumed(tmp_path, count, kills, forked=True):
    """Prepare clips, killed again and again as they come, and return what is there in the end, and in one go."""
    source = videos(tmp_path / "in", count)
    for number, clips in enumerate(kills):
        process = Started(source, "--out", tmp_path / "killed", forked=forked, log=tmp_path / "log")
        wait_for_clips(tmp_path / "killed", clips)
        time.sleep(0.05 * number)
        process.end(signal.SIGKILL, everywhere=True)
    assert run(source, "--out", tmp_path / "killed") == 0
    assert run(source, "--out", tmp_path / "whole") == 0
    return everything(tmp_path / "killed"), everything(tmp_path / "whole")


def test_killed_and_resumed_gives_the_same_bytes(tmp_path):
    killed, whole = killed_and_resumed(tmp_path, 8, [2, 5])
    assert len(whole) == 10
    assert killed == whole


@pytest.mark.slow
@pytest.mark.parametrize("forked", [True, False])
def test_killed_again_and_again_gives_the_same_bytes(tmp_path, forked):
    killed, whole = killed_and_resumed(tmp_path, 40, range(0, 36, 3 if forked else 12), forked=forked)
    assert len(whole) == 42
    assert killed == whole


WEIGHTS = ROOT / "weights" / "syncnet.safetensors"


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="no SyncNet of drawn faces is bundled")
def test_offsets_of_videos_are_found_and_mended(tmp_path):
    """By way of H.264, AAC, found faces and JPEG."""
    late = {f"{person}": late for person, late in zip(range(20, 26), (0, 3, -3, 5, -5, 1), strict=True)}
    for person, frames in late.items():
        write_talking(tmp_path / "in" / f"{person}.mkv", int(person), frames=75, late=frames)
    words = ["--size=96", "--workers=2", f"--sync={WEIGHTS}"]
    assert main([str(tmp_path / "in"), f"--out={tmp_path / 'out'}", *words, "--offsets=shift"]) == 0
    rows = read_records(tmp_path / "out" / "manifest.csv")
    assert {row["name"]: int(row["offset"]) for row in rows} == late
    again = [measure(PreparedClip(path), str(WEIGHTS)) for path in sorted((tmp_path / "out").glob("*.safetensors"))]
    assert [score.offset for score in again] == [0] * len(late)
    assert "the sound of 5 clips was shifted" in (tmp_path / "out" / "offsets.txt").read_text()


def test_help_shows_the_options_of_faces(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "--faces.least_score" in shown
    assert "usage: python -m datamodules.clips.prepare" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size=7"], "error: --size is 7"),
        (["--faces.least_score=2"], "error: --faces.least_score is 2"),
        (["--sync=w", "--offsets=shift", "--largest-offset=99"], "error: --largest-offset is 99"),
        (["--sync=w", "--least-confidence=1"], "error: --least-confidence and --largest-offset say which"),
    ],
)
def test_messages_name_the_options_of_the_command_line(tmp_path, capsys, words, told):
    assert main([str(tmp_path), f"--out={tmp_path}", *words]) == 2
    assert capsys.readouterr().err.startswith(told)
