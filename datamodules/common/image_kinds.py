"""Which files are pictures: every kind that Pillow decodes, and with pillow-heif what phones write."""

from functools import cache
from importlib.util import find_spec

from PIL import Image, ImageFile

PHONE_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
PHONE_REMEDY = "Install pillow-heif, which reads them: pip install 'visionscapes[heic]'. Or save them as JPEG"
NO_PICTURES = ("EPS", "MPEG")  # Pillow knows them when it sees them: one takes Ghostscript, the other is a video
SILENT = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})  # what other systems leave in folders


@cache
def picture_suffixes() -> tuple[str, ...]:
    """Return the suffixes of files that can be read as pictures, in lower case with their dot, sorted.

    They are those of the decoders that Pillow has registered. What it only recognises (HDF5, GRIB, PostScript, MPEG) is
    left out, and so are pictures of phones where pillow-heif is not installed.
    """
    can_read_phones()
    Image.init()
    suffixes = {suffix.lower() for suffix, kind in Image.registered_extensions().items() if _decodes(kind)}
    return tuple(sorted(suffixes))


@cache
def can_read_phones() -> bool:
    """Return whether HEIC and HEIF are read, after having taught Pillow to do it."""
    if find_spec("pillow_heif") is None:
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return True


def is_silent(name: str) -> bool:
    """Return whether a file of this name is nobody's data: hidden, or left by the file manager of a system."""
    return name.startswith(".") or name.lower() in SILENT


def _decodes(kind: str) -> bool:
    kind = "JPEG" if kind == "MPO" else kind  # several JPEGs in one file, which the decoder of JPEG recognises
    if kind not in Image.OPEN or kind in NO_PICTURES:
        return False
    decoder = Image.OPEN[kind][0]
    return not (isinstance(decoder, type) and issubclass(decoder, ImageFile.StubImageFile))
