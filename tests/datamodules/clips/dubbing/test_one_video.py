import numpy as np
import pytest
import torch

from datamodules.clips.clip import crop
from datamodules.clips.dubbing.one_video import HowToDub, VideoToDub
from datamodules.clips.faces.face_options import FaceOptions
from networks.audio import MelSpectrogram, frame_mels
from tests.helpers.dubbing import nobody, person, speech, video_of
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound, write_sound
from visionscapes.media.video import read_frames

pytestmark = needs_face_files


def chunks(video, audio=None, size=5, **options):
    return list(VideoToDub(video, audio, name="name", how=HowToDub(32, **options)).chunks(size, 99))


def joined(batches, key):
    return torch.cat([batch[key] for batch in batches])


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return video_of(tmp_path_factory.mktemp("videos") / "a.mp4", person(1, 12))


def test_chunks_hold_the_frames_their_faces_and_the_sound_of_each(talk, tmp_path):
    audio = speech(tmp_path / "b.wav", 0.6)
    batches = chunks(talk, audio)
    assert [len(batch["frames"]) for batch in batches] == [5, 5, 2]
    assert [batch["last"] for batch in batches] == [False, False, True]
    frames = [frame for batch in batches for frame in batch["frames"]]
    assert all(np.array_equal(*pair) for pair in zip(frames, read_frames(talk), strict=True))
    assert joined(batches, "index").tolist() == list(range(12))
    assert torch.allclose(joined(batches, "time"), torch.arange(12).double() / 25)
    assert joined(batches, "found").all()
    assert (joined(batches, "fade") == 1).all()
    first = batches[1]
    assert (first["task"], first["video"], first["audio"]) == ("predict", str(talk), str(audio))
    assert (first["total"], first["rate"], first["steady"], first["pixel_aspect"]) == (12, 25, True, 1)
    boxes, faces, rolls = (joined(batches, key) for key in ("boxes", "faces", "roll"))
    assert torch.equal(boxes, boxes.round())
    for at in (0, 7):
        assert torch.equal(
            faces[at], crop(torch.from_numpy(frames[at]).permute(2, 0, 1), boxes[at], 32, rolls[at].item())
        )
    landmarks = joined(batches, "landmarks")
    assert (landmarks[:, 48:68, 1] > 16).all(), "the mouth is in the lower half"
    assert landmarks.min() > -6
    assert landmarks.max() < 38
    mel = MelSpectrogram()(torch.from_numpy(read_sound(audio)))
    assert (joined(batches, "frame_mel") - frame_mels(mel, range(12))).abs().max() < 1e-4
    counts = batches[2]["counts"]
    assert (counts["frames"], counts["dubbed"], counts["without_face"], counts["cuts"]) == (12, 12, 0, 0)
    assert counts["sound_left_out_seconds"] == pytest.approx(0.12)
    assert batches[0]["counts"] == batches[1]["counts"] == {}
    assert set(batches[2]["seconds"]) == {"faces", "decoding", "audio"}
    assert batches[2]["seconds"]["faces"] >= batches[0]["seconds"]["faces"] > 0


def test_chunks_are_larger_where_there_would_be_too_many(talk):
    batches = list(VideoToDub(talk, None, name="a", how=HowToDub(32)).chunks(1, 3))
    assert [len(batch["frames"]) for batch in batches] == [4, 4, 4]


def test_a_mouth_fades_where_a_face_leaves_and_returns(tmp_path):
    frames = np.pad(person(1, 19), [(0, 0), (0, 0), (120, 120), (0, 0)], constant_values=100)
    frames[6:13, 20:, 120:-120] = 100  # a hand before it, which is no cut in a wide picture
    (batch,) = chunks(video_of(tmp_path / "a.mp4", frames), size=32, fade=0.08)
    assert batch["found"].tolist() == [True] * 6 + [False] * 7 + [True] * 6
    rises = [1 / 3, 2 / 3, 1, 1, 1, 1]
    assert batch["fade"].tolist() == pytest.approx([*reversed(rises), *[0] * 7, *rises])
    counts = batch["counts"]
    assert (counts["frames"], counts["dubbed"], counts["without_face"], counts["cuts"]) == (19, 12, 7, 0)


def test_a_face_that_is_hidden_for_a_moment_is_dubbed_all_the_same(tmp_path):
    frames = np.pad(person(1, 12), [(0, 0), (0, 0), (120, 120), (0, 0)], constant_values=100)
    frames[6:8, 20:, 120:-120] = 100
    (batch,) = chunks(video_of(tmp_path / "a.mp4", frames), size=32)
    assert batch["found"].all()


def test_a_cut_between_two_people(tmp_path):
    batches = chunks(video_of(tmp_path / "a.mp4", person(1, 6), 255 - nobody(3), person(2, 6)), size=32)
    counts = batches[0]["counts"]
    assert counts["cuts"] == 2
    assert batches[0]["fade"].tolist() == [1] * 6 + [0] * 3 + [1] * 6


def test_of_two_people_one_is_chosen(tmp_path):
    both = np.concatenate([person(1, 6), person(2, 6)], 2)
    for choose, at in (("0", 0), ("1", 112)):
        how = HowToDub(32, faces=FaceOptions(choose=choose))
        batch = next(VideoToDub(video_of(tmp_path / f"{choose}.mp4", both), None, name="a", how=how).chunks(32, 9))
        assert batch["counts"]["faces_at_once"] == 2
        middles = batch["boxes"][:, 0::2].mean(1)
        assert ((middles > at) & (middles < at + 112)).all()


@pytest.mark.parametrize(
    ("length", "sound", "frames", "key"),
    [("trim", 0.2, 5, "trimmed"), ("hold", 0.6, 15, "held"), ("loop", 0.6, 15, "repeated"), ("hold", 0.2, 8, None)],
)
def test_sound_that_is_longer_or_shorter(tmp_path, length, sound, frames, key):
    video = video_of(tmp_path / "a.mp4", person(1, 8))
    batches = chunks(video, speech(tmp_path / "b.wav", sound), length=length)
    counts = batches[-1]["counts"]
    assert sum(len(batch["frames"]) for batch in batches) == batches[0]["total"] == counts["frames"] == frames
    assert torch.allclose(joined(batches, "time"), torch.arange(frames).double() / 25)
    for name in ("trimmed", "held", "repeated"):
        assert (counts[name] > 0) == (name == key)
    pictures = [frame for batch in batches for frame in batch["frames"]]
    if length == "loop":
        assert np.array_equal(pictures[8], pictures[0])
    if key == "held":
        assert np.array_equal(pictures[14], pictures[7])
    if key is None:
        assert (joined(batches, "frame_mel")[-1] == -4).all()
        assert counts["silence_after_sound_seconds"] == pytest.approx(0.12)
        assert counts["silent_share"] >= 3 / 8


def test_one_frame_and_silence(tmp_path):
    video = video_of(tmp_path / "a.mp4", person(1, 1))
    (batch,) = chunks(video, speech(tmp_path / "b.wav", 1.0))
    assert (batch["total"], batch["last"], batch["counts"]["dubbed"]) == (1, True, 1)
    write_sound(tmp_path / "c.wav", np.zeros(16000))
    (batch,) = chunks(video, tmp_path / "c.wav")
    assert batch["counts"]["silent_share"] == 1
    assert (batch["frame_mel"] == -4).all()


def test_what_cannot_be_dubbed_is_told(tmp_path, talk):
    mute = video_of(tmp_path / "a.mp4", person(1, 2), sound=None)
    with pytest.raises(ClipError, match=r"a\.mp4 has no sound: name the file .* --data\.audio"):
        chunks(mute)
    with pytest.raises(ClipError, match=r"a\.mp4 has no sound: name a file"):
        chunks(talk, mute)
    empty = video_of(tmp_path / "b.mp4", nobody(3))
    with pytest.raises(ClipError, match="shows no face") as raised:
        chunks(empty)
    assert raised.value.reason == "no face"
    with pytest.raises(ClipError, match=r"shows no face that is turned by less than 0\.001 degrees"):
        chunks(talk, most_turned=0.001)
    with pytest.raises(UserError, match=r"HowToDub\.fade is -1"):
        HowToDub(32, fade=-1)


def test_frames_that_are_missing_are_told(tmp_path, capsys):
    video = video_of(tmp_path / "a.mp4", person(1, 50))
    content = bytearray(video.read_bytes())
    middle = slice(len(content) // 3, len(content) // 2)
    content[middle] = bytes(middle.stop - middle.start)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    batches = chunks(damaged, video)
    assert batches[-1]["counts"]["damaged_packets"] > 0
    assert "damaged.mp4 could not be read: frames are missing there" in capsys.readouterr().out
