"""Files that are cut, flipped, zeroed and spliced in many places: each is read in part or is a `ClipError`."""

from collections import Counter

import numpy as np
import pytest

from tests.helpers.videos import clicks, numbered, write_media
from visionscapes.media.containers import LONGEST_PAUSES, Damage
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound_blocks
from visionscapes.media.video import probe, read_frames

SOURCES = {
    "a.mp4": ("libx264", "aac"),
    "a.mkv": ("ffv1", "flac"),
    "a.webm": ("libvpx", "libopus"),
    "a.ts": ("libx264", "aac"),
    "a.avi": ("mpeg4", "pcm_s16le"),
    "a.flv": ("libx264", "libmp3lame"),
    "a.gif": ("gif", None),
    "a.wav": (None, "pcm_s16le"),
}


def cut(content, rng):
    return content[: rng.integers(1, len(content))]


def flipped(content, rng):
    content = content.copy()
    content[rng.integers(0, len(content), 60)] ^= np.uint8(1 << rng.integers(8))
    return content


def header_overwritten(content, rng):
    content = content.copy()
    content[rng.integers(0, min(1500, len(content)), 15)] = rng.integers(0, 256, 15)
    return content


def end_overwritten(content, rng):
    return header_overwritten(content[::-1], rng)[::-1]


def zeroed(content, rng):
    content = content.copy()
    start = rng.integers(len(content))
    content[start : start + len(content) // 5] = 0
    return content


def spliced(content, rng):
    start = rng.integers(len(content))
    return np.delete(content, slice(start, start + len(content) // 6))


def doubled(content, rng):
    start = rng.integers(len(content))
    return np.insert(content, start, content[start : start + len(content) // 6])


DAMAGES = (cut, flipped, header_overwritten, end_overwritten, zeroed, spliced, doubled)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, (codec, sound_codec) in SOURCES.items():
        write_media(
            folder / name,
            [numbered(k) for k in range(20)] if codec else (),
            codec=codec or "",
            pixels="rgb8" if codec == "gif" else "yuv420p",
            options={"crf": "20"} if codec == "libx264" else {"b": "500k"},
            sound=clicks(0.8, 44100 if name == "a.flv" else 48000, [0.4]) if sound_codec else None,
            sound_rate=44100 if name == "a.flv" else 48000,
            sound_codec=sound_codec or "aac",
        )
    return folder


def outcome(read, path):
    """Return what comes of reading, or the reason why it is refused if that is told in a short line."""
    try:
        return read(path)
    except ClipError as error:
        return error.reason if path.name in str(error) and len(str(error)) < 500 else False


def try_all(sources, folder, seeds):
    """Return how often each reason, and "read", came of files that are damaged in all ways."""
    found: Counter[str] = Counter()
    for seed in seeds:
        for place, (name, damage) in enumerate((name, damage) for name in SOURCES for damage in DAMAGES):
            rng = np.random.default_rng([seed, place])
            path = folder / name
            path.write_bytes(damage(np.fromfile(sources / name, np.uint8), rng).tobytes())
            counted = Damage()
            for read in (
                lambda path: probe(path).frames > 0,
                lambda path, counted=counted: sum(1 for _ in read_frames(path, 25, counted)) < LONGEST_PAUSES * 30,
                lambda path, counted=counted: sum(1 for _ in read_frames(path, None, counted)) < 60,
                lambda path, counted=counted: sum(map(len, read_sound_blocks(path, counted))) < LONGEST_PAUSES * 20_000,
            ):
                told = outcome(read, path)
                assert told is not False, (seed, name, damage.__name__)
                found["read" if told is True else told] += 1
    return found


def test_damaged_files_are_read_in_part_or_told(sources, tmp_path):
    found = try_all(sources, tmp_path, range(1))
    assert found["read"] > 0.4 * found.total()
    assert found["unreadable"] > 0


@pytest.mark.slow
def test_many_damaged_files_are_read_in_part_or_told(sources, tmp_path):
    found = try_all(sources, tmp_path, range(1, 9))
    assert found["read"] > 0.4 * found.total()


@pytest.mark.parametrize("side", [16_000, 60_000])
def test_a_header_that_claims_enormous_pictures(sources, tmp_path, side):
    content = np.fromfile(sources / "a.gif", np.uint8)
    content[6:10] = np.array([side, side], "<u2").view(np.uint8)
    (tmp_path / "a.gif").write_bytes(content.tobytes())
    assert {outcome(read, tmp_path / "a.gif") for read in (probe, lambda path: next(read_frames(path)))} == {
        "no frames"
    }


@pytest.mark.parametrize("rate", [0, 1, 2**31 - 1])
def test_a_header_that_claims_impossible_rates_of_sound(sources, tmp_path, rate):
    content = np.fromfile(sources / "a.wav", np.uint8)
    content[24:28] = np.array([rate], "<u4").view(np.uint8)
    (tmp_path / "a.wav").write_bytes(content.tobytes())
    told = outcome(lambda path: next(read_sound_blocks(path)), tmp_path / "a.wav")
    assert told in ("no sound", "unreadable")
