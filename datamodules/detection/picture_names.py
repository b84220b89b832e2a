"""The names of pictures as annotation tools write them, and the ways to read such a name."""

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

ODD = re.compile(r"[\\:?%#]|\.\.|//|\./|^/")  # what a path within a folder has seldom
QUERY = re.compile(r"[?&](?:d|filepath|fileuri)=([^&#]+)")  # Label Studio's local and stored files
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
DRIVE = re.compile(r"[A-Za-z]:(?=/)")
UPLOAD = re.compile(r"(?:[0-9a-f]{8}__)?[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an upload


def plain_name(name: str) -> str:
    """Return the path that a name means, with forward slashes: relative to some folder, or absolute on this machine.

    The path of a URL, of a drive of Windows, and of a file that a Label Studio server is asked for are taken without
    what is in front of them, and so are names that lead up out of the folder, "../../a.jpg": they were written on
    another machine, or in another folder, and their ends may be found here.
    """
    if not ODD.search(name):
        return name
    asked = QUERY.search(name)
    if asked:
        name = unquote(asked[1])
    scheme = SCHEME.match(name)
    if scheme:
        path = unquote(re.split(r"[?#]", name[scheme.end() :])[0])
        name = f"/{path.lstrip('/')}" if scheme[1].lower() == "file" else path.partition("/")[2]
    name = name.replace("\\", "/").strip()
    if asked or DRIVE.match(name) or name.startswith("//"):
        name = DRIVE.sub("", name, count=1).lstrip("/")
    whole = os.path.normpath(name) if name else name
    while whole.startswith("../"):
        whole = whole[3:]
    return whole


def other_names(name: str) -> Iterator[tuple[str, str]]:
    """Yield further paths within a folder that a name may mean, the likeliest first, and in words why.

    Args:
        name: as the annotations have it.
    """
    plain = plain_name(name)
    decoded = unquote(plain)
    ends = [plain.lstrip("/")]
    while "/" in ends[-1]:
        ends.append(ends[-1].partition("/")[2])
    if plain == ends[0]:
        ends = ends[1:]  # the whole of it was looked for
    if decoded != plain:
        yield decoded.lstrip("/"), "with their percent signs decoded"
    yield from ((end, "by the ends of their paths") for end in ends)
    for end in ends if decoded != plain else []:
        yield unquote(end), "by the ends of their paths, with percent signs decoded"
    base = os.path.basename(decoded)
    upload = UPLOAD.match(base)
    if upload:
        yield base[upload.end() :], "without what Label Studio puts before a name"
