"""Where the clips of a data set lie: VoxCeleb2, LRW, or any folder, glob or file."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from datamodules.clips.video_files import VIDEO_SUFFIXES, find_videos
from datamodules.common.image_files import find_images
from datamodules.common.inputs import files_below
from datamodules.common.reports import compare_count
from visionscapes.media.errors import ClipError

Layout = Literal["voxceleb2", "lrw", "folder"]
PARTS = {"dev": "train", "test": "test"}  # of VoxCeleb2
LRW_PARTS = ("train", "val", "test")
PUBLISHED = {
    "voxceleb2": {"train": 1_092_009, "test": 36_237},
    "lrw": {"train": 488_766, "val": 25_000, "test": 25_000},
}
PUBLISHED_VIDEOS = {"train": 145_569, "test": 4_911}  # of VoxCeleb2, one utterance of each in thesis section 6.2.2
NAMES = {"voxceleb2": "VoxCeleb2", "lrw": "LRW", "folder": "A video"}
LAYOUTS: dict[Layout, str] = {
    "voxceleb2": """\
dev/mp4/id00012/21Uxsk56VDQ/00001.mp4 ...
test/mp4/id00017/01dfn2spqyE/00001.mp4 ...     (the archives of the test part are unpacked INTO test/)
dev/aac/id00012/21Uxsk56VDQ/00001.m4a ...      (only for videos without sound)""",
    "lrw": """\
lipread_mp4/ABOUT/train/ABOUT_00001.mp4 ...
lipread_mp4/ABOUT/val/ABOUT_00001.mp4 ...
lipread_mp4/ABOUT/test/ABOUT_00001.mp4 ...""",
    "folder": """\
clip.mp4
any/sub/folder/another.mov ...""",
}
_NAMES_OF: dict[Layout, re.Pattern[str]] = {
    "voxceleb2": re.compile(r"(train|test)/id\d{5}/[^/]{11}/\d{5}"),
    "lrw": re.compile(r"(train|val|test)/([A-Z]+)/\2_\d{5}"),
}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST = 180  # bytes of a file's name, which leaves room for what is put around it while it is written


@dataclass(frozen=True)
class ClipSource:
    """A clip as it lies in a data set.

    Attributes:
        video: the file with the frames.
        name: unique in the data set, with "/" between folders, such as "train/id00012/21Uxsk56VDQ/00001"; it is also
            where the prepared clip goes, without its suffix.
        sound: a file with the sound, for a video that has none; it need not exist.
    """

    video: Path
    name: str
    sound: Path | None = None


def find_clips(
    place: str | Path, layout: Layout | Literal["auto"] = "auto", *, first_utterance: bool = False
) -> tuple[Layout, list[ClipSource]]:
    """List the clips of a data set, a folder, a glob or one file, sorted by name.

    Hidden files are ignored. Names are those of the files below the folder, without suffix; control characters and
    bytes that are no text become "_". So two clips may have one name: see `with_names_of_their_own`.

    Args:
        place: a path, which may start with ``~``, or a pattern such as "videos/**/*.mp4".
        layout: of the folder; "auto" to tell it by what is there.
        first_utterance: of each video of VoxCeleb2 take only the clip with the lowest number. Numbers count through
            the videos of a person, so that those of a video need not begin with 00001.

    Returns:
        The layout and the clips.

    Raises:
        DatasetNotFoundError: there is no clip.
    """
    root = Path(place).expanduser()
    if layout == "auto":
        layout = _layout_of(root)
    if layout == "voxceleb2":
        found = _voxceleb2(root)
        if first_utterance:
            found = _first_of_each(found)
    elif layout == "lrw":
        found = _lrw(root)
    else:
        found = _any(str(place))
    return layout, sorted(found, key=lambda clip: (clip.name, clip.video))


def passed_over(place: str | Path) -> Counter[str]:
    """Return how many files of a folder are no videos by their names, by suffix; hidden ones do not count."""
    folder = Path(place).expanduser()
    others = files_below(folder, VIDEO_SUFFIXES).left_out if folder.is_dir() else Counter[str]()
    return Counter({suffix or "no suffix": count for suffix, count in others.items()})


def with_names_of_their_own(clips: Iterable[ClipSource]) -> tuple[list[ClipSource], list[tuple[ClipSource, ClipError]]]:
    """Return the clips with different names, and those whose name another one has taken, with the error of each."""
    taken: dict[str, ClipSource] = {}
    others = []
    for clip in clips:
        first = taken.setdefault(clip.name, clip)
        if first is not clip:
            message = f"{clip.video} would have the name of {first.video}, {clip.name}: rename one of them"
            others.append((clip, ClipError(message, "name taken")))
    return list(taken.values()), others


def compare_with_published(layout: Layout, names: Sequence[str], first_utterance: bool = False) -> None:
    """Warn if a data set has more or fewer clips than its authors published.

    Args:
        layout: of the data set.
        names: of its clips, which begin with the part.
        first_utterance: whether each video has only one clip.
    """
    published = PUBLISHED_VIDEOS if first_utterance and layout == "voxceleb2" else PUBLISHED.get(layout, {})
    for part, count in published.items():
        here = sum(name.startswith(f"{part}/") for name in names)
        if here:
            compare_count(f"{NAMES[layout]} {part}", "clips", here, count)


def layout_of_names(names: Sequence[str]) -> tuple[Layout, bool]:
    """Return the data set that clips are of by their names, and whether it is one clip a video of VoxCeleb2."""
    for layout, pattern in _NAMES_OF.items():
        if names and all(pattern.fullmatch(name) for name in names):
            return layout, layout == "voxceleb2" and len({name.rpartition("/")[0] for name in names}) == len(names)
    return "folder", False


def clean(name: str) -> str:
    """Return a name without control characters and bytes that are no text, each folder's cut to what a disk takes."""
    parts = _UNPRINTABLE.sub("_", name).split("/")
    return "/".join(part.encode()[:_LONGEST].decode(errors="ignore") for part in parts)


def _layout_of(root: Path) -> Layout:
    if any((root / part / "mp4").is_dir() for part in PARTS) or (root.name in PARTS and (root / "mp4").is_dir()):
        return "voxceleb2"
    try:
        return "lrw" if next(iter(_words(root)), None) is not None else "folder"
    except OSError:  # no permission, which who lists the folder tells
        return "folder"


def _remedies(layout: Layout) -> list[str]:
    return [
        "Give the folder above this tree",
        f"Choose another --layout ({', '.join(get_args(Layout))}): this one is {layout}",
        f"Copy videos into the folder (files that end in {', '.join(VIDEO_SUFFIXES)})",
    ]


def _videos(root: Path, layout: Layout) -> list[Path]:
    return find_images(root, (".mp4",), name=NAMES[layout], expected=LAYOUTS[layout], remedies=_remedies(layout))


def _voxceleb2(root: Path) -> list[ClipSource]:
    parts = {part: root / part for part in PARTS if (root / part / "mp4").is_dir()}
    if not parts and root.name in PARTS:
        parts = {root.name: root}
    clips = []
    for part, folder in parts.items():
        for video in _videos(folder / "mp4", "voxceleb2"):
            inner = video.relative_to(folder / "mp4").with_suffix("")
            name = clean(f"{PARTS[part]}/{inner.as_posix()}")
            clips.append(ClipSource(video, name, folder / "aac" / inner.with_name(f"{inner.name}.m4a")))
    return clips or [ClipSource(video, "") for video in _videos(root / "dev" / "mp4", "voxceleb2")]


def _first_of_each(clips: Iterable[ClipSource]) -> list[ClipSource]:
    """Return of each folder, which is a video, the clip with the lowest number."""
    first: dict[Path, ClipSource] = {}
    for clip in sorted(clips, key=lambda clip: (_number(clip.video.stem), clip.video)):
        first.setdefault(clip.video.parent, clip)
    return list(first.values())


def _number(stem: str) -> float:
    return int(stem) if re.fullmatch("[0-9]+", stem) else float("inf")


def _words(root: Path) -> Iterable[Path]:
    """Yield the folders of LRW's words, which hold train, val or test with clips that are called after the word."""
    for above in (root / "lipread_mp4", root):
        folders = sorted(above.iterdir()) if above.is_dir() else []
        words = [each for each in folders if each.is_dir() and any((each / part).is_dir() for part in LRW_PARTS)]
        yield from (word for word in words if any(word.glob(f"*/{glob.escape(word.name)}_[0-9]*.mp4")))


def _lrw(root: Path) -> list[ClipSource]:
    clips = []
    for word in dict.fromkeys(_words(root)):
        for part in LRW_PARTS:
            if (word / part).is_dir() and any((word / part).iterdir()):
                videos = _videos(word / part, "lrw")
                clips += [ClipSource(video, clean(f"{part}/{word.name}/{video.stem}")) for video in videos]
    return clips or [ClipSource(video, "") for video in _videos(root / "lipread_mp4", "lrw")]


def _any(place: str) -> list[ClipSource]:
    folder, videos = find_videos(
        place, name=NAMES["folder"], expected=LAYOUTS["folder"], remedies=_remedies("folder"), tell=False
    )
    return [ClipSource(video, clean(video.relative_to(folder).with_suffix("").as_posix())) for video in videos]
