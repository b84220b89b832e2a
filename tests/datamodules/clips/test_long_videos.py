"""Memory does not grow with the length of what is read and written."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visionscapes.media.sound import read_sound_blocks
from visionscapes.media.video import read_frames
from visionscapes.media.video_writer import VideoWriter

WIDTH, HEIGHT = 160, 120
MEGABYTE = 2**20


def memory() -> int:
    """Return the bytes that this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def pictures(count: int) -> Iterator[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return (np.roll(noise, k, 1) for k in range(count))


def write(path: Path, count: int) -> Path:
    with VideoWriter(path, (WIDTH, HEIGHT), 25, sound=np.zeros(count * 640), preset="ultrafast", crf=35) as video:
        for picture in pictures(count):
            video.write(picture)
    return path


def peak(blocks: Iterator[np.ndarray]) -> int:
    """Return the most memory while an iterator is read, above what was held before."""
    before, most = memory(), 0
    for k, _ in enumerate(blocks):
        if k % 20 == 0:
            most = max(most, memory() - before)
    return most


def test_memory_is_flat(tmp_path):
    short = write(tmp_path / "short.mp4", 200)
    before = memory()
    long = write(tmp_path / "long.mp4", 1500)
    assert memory() - before < 15 * MEGABYTE, "1500 pictures are 86 MB"
    for read in (read_frames, read_sound_blocks):
        peak(read(short))
        assert peak(read(long)) < peak(read(short)) + 8 * MEGABYTE
