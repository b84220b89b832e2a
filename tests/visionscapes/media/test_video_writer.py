"""What is written is read again by the readers, and by PyAV alone."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.helpers.full_disk import largest_file
from tests.helpers.videos import HEIGHT, WIDTH, clicks, find_click, number_of, numbered, write_media
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound, write_sound
from visionscapes.media.video import probe, read_frames
from visionscapes.media.video_writer import VideoWriter

SIZE = (WIDTH, HEIGHT)


def write(path, pictures, rate=25, size=None, **options):
    size = size or pictures[0].shape[1::-1]
    with VideoWriter(path, size, rate, **options) as video:
        for picture in pictures:
            video.write(picture)
    return path


def smooth(number, width=96, height=64):
    """Return a picture of soft colours that move with the number."""
    x, y = np.arange(width) / width, np.arange(height)[:, None] / height
    waves = [np.sin(6 * x + 0.2 * number) + 0 * y, np.cos(5 * y + 4 * x), np.sin(4 * y - 0.1 * number) + 0 * x]
    return np.clip(np.stack(waves, -1) * 100 + 128, 0, 255).astype(np.uint8)


def test_pictures_and_sound_come_back(tmp_path):
    pictures = [smooth(k) for k in range(50)]
    sound = np.random.default_rng(0).normal(0, 0.05, 32000).astype("f4")
    sound += clicks(2, 16000, [0.3, 1.0, 1.9])
    path = write(tmp_path / "new" / "a.mp4", pictures, sound=sound)
    found = np.stack(list(read_frames(path)))
    errors = ((found.astype(float) - np.stack(pictures)) ** 2).mean((1, 2, 3))
    assert len(found) == 50
    assert 10 * np.log10(255**2 / errors).min() > 38
    assert np.abs((found.astype(float) - np.stack(pictures)).mean((0, 1, 2))).max() < 0.7, "no colour is shifted"
    heard = read_sound(path)
    assert len(heard) == pytest.approx(32000, abs=1100)
    correlations = np.correlate(np.pad(heard[:32000], (64, 64)), sound[: len(heard)], "valid")
    assert np.argmax(correlations) == 64, "no lag"
    assert np.corrcoef(heard[:32000], sound)[0, 1] > 0.9
    assert [find_click(heard, round(time * 16000)) for time in (0.3, 1, 1.9)] == [4800, 16000, 30400]
    assert sorted(path.parent.iterdir()) == [path]


def test_it_is_what_players_want(tmp_path):
    path = write(tmp_path / "a.mp4", [smooth(k) for k in range(10)], sound=clicks(1, 16000, [0.1]))
    with av.open(str(path)) as file:
        video, audio = file.streams
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.codec_context.sample_rate) == ("aac", 16000)
        assert float(audio.duration * audio.time_base) == pytest.approx(0.4, abs=0.1), "sound ends with the pictures"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "it can be played while it is loaded"


@pytest.mark.parametrize("rate", [25, 29.97, 30000 / 1001, 23.976, 24, 30, 12.5, 60, 1, Fraction(25)])
def test_rates_are_kept(tmp_path, rate):
    path = write(tmp_path / "a.mp4", [numbered(k) for k in range(30)], rate)
    info = probe(path)
    assert info.rate == pytest.approx(float(rate), rel=1e-5 if rate not in (29.97, 23.976) else 2e-4)
    assert (info.frames, info.variable_rate) == (30, False)
    assert [number_of(frame) for frame in read_frames(path, info.rate)] == list(range(30))


def test_times_of_their_own(tmp_path):
    times = np.cumsum([0, 0.04, 0.033, 0.5, 0.041, 0.04, 0.001, 0.2])
    with VideoWriter(tmp_path / "a.mp4", SIZE, 25) as video:
        for number, time in enumerate(times):
            video.write(numbered(number), time)
        with pytest.raises(ValueError, match="not after"):
            video.write(numbered(9), times[-1])
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert [float(frame.time) for frame in file.decode(video=0)] == pytest.approx(times, abs=2e-5)
    assert [number_of(frame) for frame in read_frames(tmp_path / "a.mp4", None)] == list(range(8))


@pytest.mark.parametrize(("width", "height"), [(95, 63), (96, 63), (95, 64), (1, 1), (33, 50)])
def test_odd_sizes_get_their_last_row_and_column_once_more(tmp_path, width, height):
    picture = smooth(0, width, height)
    found = next(read_frames(write(tmp_path / "a.mp4", [picture] * 3, crf=5)))
    assert found.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(found[:height, :width].astype(int) - picture).mean() < 4


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1), (8000, 1), (96000, 2)])
def test_sound_of_a_file_keeps_rate_and_channels(tmp_path, rate, channels):
    source = write_media(
        tmp_path / "a.wav",
        sound=np.stack([clicks(3, rate, [0.5, 1.0])] * channels),
        sound_rate=rate,
        sound_codec="pcm_f32le",
    )
    path = write(tmp_path / "a.mp4", [numbered(k) for k in range(50)], sound=source)
    with av.open(str(path)) as file:
        context = file.streams.audio[0].codec_context
        assert (context.sample_rate, context.channels) == (min(rate, 48000), channels)
    heard = read_sound(path)
    assert abs(find_click(heard, 16000) - 16000) <= 16
    assert abs(find_click(heard, 8000) - 8000) <= 16


def test_a_video_is_copied_with_its_sound_and_shift(tmp_path):
    source = write_media(
        tmp_path / "a.mkv", [numbered(k) for k in range(50)], range(5, 55), sound=clicks(2.2, 48000, [1.2])
    )
    path = write(tmp_path / "b.mp4", list(read_frames(source)), sound=source)
    assert [number_of(frame) for frame in read_frames(path)] == list(range(50))
    assert abs(find_click(read_sound(path), 16000) - 16000) <= 16


def test_short_and_long_sound(tmp_path):
    for seconds in (0, 0.01, 0.5, 5):
        path = write(tmp_path / "a.mp4", [numbered(k) for k in range(25)], sound=np.zeros(round(seconds * 16000)))
        assert probe(path).frames == 25
        if seconds:
            assert len(read_sound(path)) <= 16000 + 1024


def test_the_same_bytes_each_time(tmp_path):
    files = [write(tmp_path / name, [smooth(k) for k in range(12)], sound=clicks(0.5, 16000, [0.2])) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def stop_after(path, number, error):
    with VideoWriter(path, SIZE, 25, sound=np.zeros(8000)) as video:
        for k in range(number):
            video.write(numbered(k))
        raise error


@pytest.mark.parametrize("number", [0, 1, 60])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), FileNotFoundError("another file")])
def test_an_error_leaves_what_was_there(tmp_path, number, error):
    path = write(tmp_path / "a.mp4", [numbered(7)])
    with pytest.raises(type(error)) as raised:
        stop_after(path, number, error)
    assert raised.value is error
    assert [number_of(frame) for frame in read_frames(path)] == [7]
    assert sorted(tmp_path.iterdir()) == [path]


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="without a picture"):
        write(tmp_path / "a.mp4", [], size=SIZE)
    for options in ({"crf": 60}, {"preset": "quick"}, {"rate": 0}, {"size": (0, 4)}, {"size": (4, 4, 4)}):
        with pytest.raises(UserError, match="VideoWriter"):
            write(tmp_path / "a.mp4", [numbered(0)], **options)
    with pytest.raises(ClipError) as error:
        write(tmp_path / "a.mp4", [numbered(0)], sound=tmp_path / "none.wav")
    assert error.value.reason == "unreadable"
    silent = write(tmp_path / "silent.mp4", [numbered(0)])
    with pytest.raises(ClipError, match="has no sound"):
        write(tmp_path / "a.mp4", [numbered(0)], sound=silent)
    for picture in (numbered(0)[:, 1:], numbered(0).astype(float), numbered(0)[..., 0]):
        with pytest.raises(ValueError, match="a picture of"), VideoWriter(tmp_path / "a.mp4", SIZE, 25) as video:
            video.write(picture)
    assert sorted(tmp_path.iterdir()) == [silent]


@pytest.mark.parametrize("size", [0, 100, 3000, 20_000])
def test_a_full_disk_leaves_what_was_there(tmp_path, size):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(60)]
    path = write(tmp_path / "a.mp4", [numbered(7)])
    with largest_file(size), pytest.raises(UserError, match=r"a\.mp4 cannot be written \(File too large\): free some"):
        write(path, pictures, sound=np.zeros(32000))
    assert [number_of(frame) for frame in read_frames(path)] == [7]
    assert sorted(tmp_path.iterdir()) == [path]


def test_no_place_for_a_file(tmp_path):
    (tmp_path / "file").write_text("stays")
    for path in (tmp_path / "file" / "a.mp4", tmp_path):
        with pytest.raises(UserError, match="cannot be written"):
            write(path, [numbered(0)])
    if os.getuid():
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="make the folder writable"):
            write(tmp_path / "a.mp4", [numbered(0)])


def test_names_of_all_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sound('it\'s "a" sound.wav', clicks(1, 16000, [0.5]))
    for name in ("a b.mp4", "-i.mp4", "größe 口.mp4", "a:b.mp4", "a%03d.mp4", "no-suffix"):
        write(name, [numbered(k) for k in range(3)], sound='it\'s "a" sound.wav')
        assert [number_of(frame) for frame in read_frames(name)] == [0, 1, 2]


def test_pixels_that_are_not_square_stay_so(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT), 25, pixel_aspect=16 / 11) as video:
        video.write(numbered(1))
    assert probe(tmp_path / "a.mp4").pixel_aspect == pytest.approx(16 / 11)
