"""Clicks of which the moment is known, in files of many containers, codecs, rates and channels."""

import wave

import numpy as np
import pytest

from tests.helpers.full_disk import largest_file
from tests.helpers.videos import clicks, find_click, numbered, write_media
from visionscapes.errors import UserError
from visionscapes.media.containers import Damage
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import BLOCK, read_sound, read_sound_blocks, write_sound

MANY = [
    ("a.wav", "pcm_s16le"),
    ("a.wav", "pcm_f32le"),
    ("a.wav", "pcm_u8"),
    ("a.flac", "flac"),
    ("a.m4a", "aac"),
    ("a.mp3", "libmp3lame"),
    ("a.opus", "libopus"),
    ("a.mp4", "aac"),
    ("a.mov", "pcm_s16le"),
    ("a.mkv", "flac"),
    ("a.mkv", "libopus"),
    ("a.webm", "libopus"),
    ("a.ts", "aac"),
    ("a.avi", "pcm_s16le"),
]
VIDEO = {".mp4", ".mov", ".mkv", ".webm", ".ts", ".avi"}


def film(path, sound, **options):
    """Write sound, with numbered pictures for as long as it lasts in containers of video."""
    seconds = sound.shape[-1] / options.get("sound_rate", 48000)
    pictures = [numbered(k) for k in range(round(seconds * 25))] if path.suffix in VIDEO else ()
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(path.suffix, "libx264")
    container = {".m4a": "mp4", ".opus": "ogg"}.get(path.suffix)
    settings = {"b": "1M", "deadline": "realtime"} if path.suffix in (".webm", ".avi") else None
    return write_media(path, pictures, codec=codec, options=settings, container=container, sound=sound, **options)


@pytest.mark.parametrize(("name", "codec"), MANY, ids=[f"{name}-{codec}" for name, codec in MANY])
def test_a_click_is_where_it_is_heard(tmp_path, name, codec):
    sound = read_sound(film(tmp_path / name, clicks(2.5, 48000, [0.1, 1, 2]), sound_codec=codec))
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1
    within = 16 if codec in ("aac", "libmp3lame") else 1
    for time in (0.1, 1, 2):
        assert abs(find_click(sound, round(time * 16000)) - time * 16000) <= within
    if codec.startswith(("pcm", "flac", "libopus")):
        assert abs(len(sound) - 40000) <= 16


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_rates_come_to_16_khz_without_delay(tmp_path, rate):
    sound = clicks(3, rate, [0.5, 1, 2.5])
    found = read_sound(film(tmp_path / "a.wav", sound, sound_rate=rate, sound_codec="pcm_f32le"))
    assert abs(len(found) - 48000) <= 1
    assert [abs(find_click(found, round(time * 16000)) - time * 16000) <= 1 for time in (0.5, 1, 2.5)] == [True] * 3
    if rate == 16000:
        assert np.array_equal(found, sound)


def test_a_tone_keeps_its_level_and_what_16_khz_cannot_hold_is_gone(tmp_path):
    time = np.arange(96000) / 48000
    for hertz, level in ((440, 0.5), (5000, 0.5), (12000, 0.0)):
        tone = (0.5 * np.sin(2 * np.pi * hertz * time)).astype("f4")
        found = read_sound(film(tmp_path / "a.wav", tone, sound_codec="pcm_f32le"))[1600:-1600]
        assert np.sqrt(2 * np.mean(found**2)) == pytest.approx(level, abs=0.01)


def test_stereo_is_the_mean_of_its_channels_and_surround_is_mixed(tmp_path):
    rng = np.random.default_rng(0)
    stereo = rng.uniform(-1, 1, (2, 16000)).astype("f4")
    path = film(tmp_path / "a.wav", stereo, sound_rate=16000, sound_codec="pcm_f32le")
    assert np.abs(read_sound(path) - stereo.mean(0)).max() < 1e-6
    surround = np.stack([clicks(1, 48000, [0.5])] * 6)
    found = read_sound(film(tmp_path / "b.wav", surround, sound_codec="pcm_f32le"))
    assert find_click(found, 8000) == 8000


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("late", [0.32, 1.5])
def test_sound_that_starts_later_begins_with_silence(tmp_path, name, late):
    sound = read_sound(film(tmp_path / name, clicks(2, 48000, [0.5]), sound_start=late))
    assert abs(find_click(sound, round((0.5 + late) * 16000)) - (0.5 + late) * 16000) <= 16
    assert np.abs(sound[: round((late - 0.05) * 16000)]).max() < 1e-3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_what_is_heard_before_the_first_picture_is_cut_off(tmp_path, name):
    pictures = [numbered(k) for k in range(40)]
    path = write_media(tmp_path / name, pictures, range(10, 50), sound=clicks(2, 48000, [0.2, 1]))
    sound = read_sound(path)
    assert abs(find_click(sound, 9600) - 9600) <= 16, "the second click, 0.6 s after the first picture"
    assert np.abs(sound[:8000]).max() < 0.05
    assert abs(len(sound) - 1.6 * 16000) < 1100


def test_a_pause_in_the_stamps_is_silence(tmp_path):
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=16000, layout="mono")
        for start in (0, 24000):
            samples = (clicks(1, 16000, [0.5]) * 32767).astype("i2")[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    damage = Damage()
    sound = read_sound(path, damage)
    assert damage == Damage(silence=0.5)
    assert damage
    assert len(sound) == 40000
    assert find_click(sound, 8000) == 8000
    assert find_click(sound, 32000) == 32000


def test_of_several_sounds_the_one_marked_as_default(tmp_path):
    import av

    for chosen in (0, 1):
        with av.open(str(tmp_path / "a.mkv"), "w") as file:
            streams = [file.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
            for k, stream in enumerate(streams):
                stream.disposition = av.stream.Disposition.default if k == chosen else av.stream.Disposition(0)
            for k, stream in enumerate(streams):
                frame = av.AudioFrame.from_ndarray(
                    np.full((1, 1600), 1000 * (k + 1), "i2"), format="s16", layout="mono"
                )
                frame.sample_rate, frame.pts = 16000, 0
                file.mux(stream.encode(frame))
        assert np.allclose(read_sound(tmp_path / "a.mkv"), 1000 * (chosen + 1) / 32768)


def test_blocks_are_the_sound_and_none_is_long(tmp_path):
    sound = np.random.default_rng(0).uniform(-1, 1, 16000 * 25).astype("f4")
    path = film(tmp_path / "a.wav", sound, sound_rate=16000, sound_codec="pcm_f32le")
    blocks = list(read_sound_blocks(path))
    assert [len(block) for block in blocks] == [BLOCK, BLOCK, BLOCK // 2]
    assert np.array_equal(np.concatenate(blocks), sound)


def test_levels_beyond_one_and_no_numbers_at_all(tmp_path):
    sound = np.array([0.5, 2, -3, np.nan, np.inf, -np.inf, 0.25], "f4").repeat(400)
    path = film(tmp_path / "a.wav", sound, sound_rate=16000, sound_codec="pcm_f32le")
    assert read_sound(path)[200::400].tolist() == [0.5, 1, -1, 0, 1, -1, 0.25]


def test_no_sound(tmp_path):
    silent = write_media(tmp_path / "silent.mp4", [numbered(k) for k in range(3)])
    with wave.open(str(tmp_path / "none.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    for path in (silent, tmp_path / "none.wav"):
        for read in (read_sound, lambda path: next(read_sound_blocks(path))):
            with pytest.raises(ClipError, match=path.name) as error:
                read(path)
            assert error.value.reason == "no sound"
    (tmp_path / "text.wav").write_text("RIFF but not really")
    with pytest.raises(ClipError, match="cannot be read") as error:
        read_sound(tmp_path / "text.wav")
    assert error.value.reason == "unreadable"


def test_damaged_packets_are_counted_and_the_rest_stays_in_its_place(tmp_path):
    path = film(tmp_path / "a.ts", clicks(4, 48000, [0.5, 3.5]))
    content, damage = bytearray(path.read_bytes()), Damage()
    middle = slice(len(content) * 2 // 5, len(content) * 3 // 5)
    content[middle] = np.random.default_rng(0).integers(0, 256, middle.stop - middle.start, np.uint8).tobytes()
    path.write_bytes(content)
    sound = read_sound(path, damage)
    assert not Damage()
    assert 0.2 < damage.silence < 2
    assert abs(find_click(sound, 8000) - 8000) <= 16
    assert abs(find_click(sound, 56000) - 56000) <= 16


def test_written_sound_is_read_again(tmp_path):
    sound = np.random.default_rng(0).uniform(-1, 1, 5000).astype("f4")
    write_sound(tmp_path / "new" / "a.wav", sound)
    assert np.abs(read_sound(tmp_path / "new" / "a.wav") - sound).max() <= 0.5001 / 32768 + 1 / 32768
    write_sound(tmp_path / "a.wav", np.array([2, 1, -1, -2, 0.5], "f8"))
    assert read_sound(tmp_path / "a.wav").tolist() == [32767 / 32768, 32767 / 32768, -1, -1, 0.5]
    write_sound(tmp_path / "a.wav", clicks(1, 8000, [0.5]), 8000)
    assert find_click(read_sound(tmp_path / "a.wav"), 8000) == 8000


def test_a_full_disk_and_no_place_for_a_file(tmp_path):
    (tmp_path / "file").write_text("stays")
    for path in (tmp_path / "file" / "a.wav", tmp_path / "b.wav"):
        with largest_file(1000), pytest.raises(UserError, match=f"{path.name} cannot be written"):
            write_sound(path, np.zeros(16000))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
