"""A folder as it may come from anybody: pictures of every kind, broken ones, and files that are none."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.image_files import pixels, truncate

WIDTH, HEIGHT = 60, 44


def noise(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Return a picture of a mode of Pillow's."""
    rgba = Image.fromarray(pixels(HEIGHT, WIDTH, 4, seed=seed))
    if mode == "I;16":
        return Image.fromarray(pixels(HEIGHT, WIDTH)[..., 0].astype(np.uint16) * 257)
    return rgba if mode == "RGBA" else rgba.convert("RGB" if mode == "CMYK" else mode).convert(mode)


def saved(mode: str = "RGB", **options: object) -> Callable[[Path], None]:
    """Return what saves a picture in the format of the suffix."""
    return lambda path: noise(mode).save(path, **options)


def palette_with_transparency(path: Path) -> None:
    noise().convert("P").save(path, transparency=0)


def animation(path: Path) -> None:
    noise().save(path, save_all=True, append_images=[noise(seed=1), noise(seed=2)])


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(path, exif=exif)


def sixteen_bit_rgb(path: Path) -> None:
    """Write a PNG of 16 bits a channel, which Pillow cannot write."""
    import zlib

    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(8))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def cut_off(path: Path) -> None:
    noise().resize((200, 200)).save(path)
    truncate(path)


def bomb(path: Path) -> None:
    """Write a PNG of few bytes that says that it has 40,000 x 40,000 pixels."""
    saved()(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 40_000, 40_000)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def text(path: Path) -> None:
    path.write_text("<html>404</html>")


READ: dict[str, Callable[[Path], None]] = {
    "plain.jpg": saved(),
    "UPPER.JPG": saved(),
    "upper.jpg": saved(),
    "progressive.jpeg": saved(progressive=True),
    "from the web.jfif": saved(format="JPEG"),
    "two views.mpo": animation,
    "printed.jpg": saved("CMYK"),
    "turned.jpg": turned,
    "grey.png": saved("L"),
    "bilevel.png": saved("1"),
    "deep.png": saved("I;16"),
    "deep_colour.png": sixteen_bit_rgb,
    "transparent.png": saved("RGBA"),
    "grey_transparent.png": saved("LA"),
    "palette.png": palette_with_transparency,
    "wrong suffix.png": saved(format="JPEG"),
    "animated.gif": animation,
    "animated.webp": animation,
    "animated.apng": animation,
    "modern.avif": saved(),
    "scan.jp2": saved(),
    "scan.tif": saved(compression="tiff_lzw"),
    "scan_printed.tiff": saved("CMYK"),
    "pages.tif": animation,
    "old.bmp": saved(),
    "game.tga": saved("RGBA"),
    "icon.ico": saved("RGBA", sizes=[(32, 32)]),
    "plain.ppm": saved(),
    "ünïcode ☃.png": saved(),
    "two\nlines.png": saved(),
    "deep/er/than others.png": saved(),
}
UNUSABLE: dict[str, Callable[[Path], None]] = {
    "empty.jpg": lambda path: path.write_bytes(b"") and None,
    "cut off.jpg": cut_off,
    "web page.jpg": text,
    "numbers.tif": lambda path: Image.fromarray(np.linspace(0, 3, 12, dtype=np.float32).reshape(3, 4)).save(path),
    "bomb.png": bomb,
    "gone.jpg": lambda path: path.symlink_to("nowhere.jpg"),
    "pipe.png": lambda path: os.mkfifo(path),
}
THIN = {"thin.png": lambda path: noise().resize((2000, 3)).save(path)}
OTHERS: dict[str, Callable[[Path], None]] = {
    "notes.txt": text,
    "film.mp4": text,
    "paper.pdf": text,
    "figure.eps": text,
    "numbers.h5": text,
    "README": text,
}
SILENT: dict[str, Callable[[Path], None]] = {
    ".DS_Store": text,
    "._plain.jpg": text,
    "Thumbs.db": text,
    "desktop.ini": text,
    ".hidden/x.jpg": text,
}


def make_odd_folder(root: Path, *, unusable: bool = True) -> list[str]:
    """Write some fifty files of all these kinds below a folder; return the names of those that can be read.

    Args:
        root: made here.
        unusable: whether there are also files that cannot be read, and a picture of 2000 x 3 pixels.
    """
    kinds = READ | OTHERS | SILENT | (UNUSABLE | THIN if unusable else {})
    for name, write in kinds.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name)
    return sorted(READ)
