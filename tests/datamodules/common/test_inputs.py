import os
from collections import Counter
from pathlib import Path

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.inputs import by_suffix, files_below, find_inputs, printable
from tests.helpers.image_files import save_photo


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Pictures in a folder of the working directory, with files of other kinds between them."""
    monkeypatch.chdir(tmp_path)
    for name in ["b.jpg", "a.PNG", "trip/2.jpg", "trip/10.jpg", "trip [1]/x y.webp"]:
        save_photo(Path("photos", name))
    for name in ["notes.txt", "more.txt", "film.mp4", "README", ".DS_Store", "._b.jpg", "Thumbs.db", "desktop.ini"]:
        Path("photos", name).write_bytes(b"x")
    return Path("photos")


def names(given, **options):
    return [path.as_posix() for path in find_inputs(given, **options).paths]


def test_a_folder_is_searched_in_order(photos):
    found = find_inputs("photos")
    assert [path.relative_to(photos).as_posix() for path in found.paths] == [
        "a.PNG",
        "b.jpg",
        "trip [1]/x y.webp",
        "trip/10.jpg",
        "trip/2.jpg",
    ]
    assert found.root == photos
    assert found.left_out == Counter({".txt": 2, ".mp4": 1, "": 1})


def test_a_file_is_taken_whatever_its_suffix(photos):
    assert names("photos/b.jpg") == ["photos/b.jpg"]
    assert names("photos/notes.txt") == ["photos/notes.txt"]
    assert find_inputs("photos/b.jpg").root == photos


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*", ["photos/a.PNG", "photos/b.jpg"]),
        ("photos/*.jpg", ["photos/b.jpg"]),
        ("photos/**/*.jpg", ["photos/b.jpg", "photos/trip/10.jpg", "photos/trip/2.jpg"]),
        ("photos/trip/?.jpg", ["photos/trip/2.jpg"]),
        ("photos/tri[p]", ["photos/trip/10.jpg", "photos/trip/2.jpg"]),
        ("photos/*.txt", ["photos/more.txt", "photos/notes.txt"]),
        ("photos/trip [1]", ["photos/trip [1]/x y.webp"]),
        ("p*/b.jpg", ["photos/b.jpg"]),
    ],
)
def test_patterns(photos, pattern, found):
    assert names(pattern) == found


def test_a_pattern_leaves_out_other_kinds_and_counts_them(photos):
    assert find_inputs("photos/*").left_out == Counter({".txt": 2, ".mp4": 1, "": 1})
    assert find_inputs("photos/*").root == photos
    assert find_inputs("p*/b.jpg").root == Path()


def test_two_stars_see_what_a_link_shows_again_once(photos):
    (photos / "loop").symlink_to(photos.absolute())
    assert names("photos/**/*.jpg") == ["photos/b.jpg", "photos/trip/10.jpg", "photos/trip/2.jpg"]


def test_a_list_keeps_its_order_and_names_each_file_once(photos):
    assert names(["photos/trip", "photos/b.jpg", "photos"]) == [
        "photos/trip/10.jpg",
        "photos/trip/2.jpg",
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/trip [1]/x y.webp",
    ]


def test_the_root_of_a_list_is_what_its_places_share(photos, tmp_path):
    save_photo(tmp_path / "other" / "x.jpg")
    assert find_inputs(["photos/b.jpg", "other/x.jpg"]).root == tmp_path
    assert find_inputs(["photos/trip/2.jpg", "photos"]).root == tmp_path / "photos"


def test_places_with_nothing_in_common_have_no_root(photos, monkeypatch):
    monkeypatch.setattr(os.path, "commonpath", lambda roots: os.sep)
    assert find_inputs(["photos/b.jpg", "photos/trip"]).root is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere", "Missing: a file or folder of this name"),
        ("photos/*.gif", r"Looked in: .*photos/\*\.gif(?s:.*)pattern matches(?s:.*)Mend the pattern"),
        ("", "a name: it is empty"),
        ([], "the list is empty"),
        (["photos", "nowhere.jpg"], "Looked in: .*nowhere.jpg"),
        ("empty", r"any image \(it is empty\)"),
        ("papers", r"any image \(it holds 3 other files: 2 \.pdf, 1 without a suffix\)"),
    ],
)
def test_nothing_found_says_where_and_what(photos, given, message):
    Path("empty").mkdir()
    Path("papers").mkdir()
    for name in ["a.pdf", "b.PDF", "c"]:
        Path("papers", name).write_bytes(b"x")
    with pytest.raises(DatasetNotFoundError, match=message) as error:
        find_inputs(given, option="labels")
    assert "--data.labels" in str(error.value)


def test_a_broken_link_counts_as_the_file_that_was_meant(photos):
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    assert "photos/gone.jpg" in names("photos")
    assert names("photos/gone.jpg") == ["photos/gone.jpg"]


def test_what_is_left_out_is_told_once_by_suffix(photos, caplog):
    find_inputs(str(photos.absolute()))
    find_inputs(str(photos.absolute()))
    assert caplog.messages == [
        f"{photos.absolute()}: left out 4 files that are no images: 2 .txt, 1 without a suffix, 1 .mp4"
    ]


def test_photographs_of_phones_are_told_with_the_package_to_install(tmp_path, caplog, monkeypatch):
    for name in ["a.heic", "b.HEIC"]:
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr("datamodules.common.inputs.picture_suffixes", lambda: (".jpg",))
    with pytest.raises(DatasetNotFoundError, match=r"2 \.heic(?s:.*)pip install 'visionscapes\[heic\]'"):
        find_inputs(str(tmp_path))
    save_photo(tmp_path / "c.jpg")
    find_inputs(str(tmp_path))
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}: left out 2 photographs of phones: 2 .heic. Install pillow-heif")


def test_odd_names_are_found_as_they_are(tmp_path):
    odd = ["with space.jpg", "ünïcode ☃.jpg", "two\nlines.jpg", "A.jpg", "a.jpg", "x.y.jpg"]
    odd += [os.fsdecode(b"bytes\xff.jpg")]
    for name in odd:
        save_photo(tmp_path / name)
    assert sorted(path.name for path in find_inputs(str(tmp_path)).paths) == sorted(odd)


def test_messages_are_one_line():
    assert printable("two\nlines\x1b[1m.jpg") == r"two\nlines\x1b[1m.jpg"
    assert printable(os.fsdecode(b"\xff.jpg")) == r"\udcff.jpg"
    assert printable("ünïcode ☃ x.jpg") == "ünïcode ☃ x.jpg"


def test_of_many_suffixes_the_most_frequent_are_named():
    counts = Counter({f".{k:02d}": 20 - k for k in range(12)})
    words = by_suffix(counts)
    assert words.startswith("20 .00, 19 .01")
    assert words.endswith("13 .07, 42 others")


def test_other_kinds_of_files_than_pictures_are_found_by_their_suffixes(photos, caplog):
    assert names("photos", suffixes=[".mp4"]) == ["photos/film.mp4"]
    assert caplog.messages == [], "files beside them are told for pictures alone"
    assert [path.name for path in files_below(photos, [".txt"]).paths] == ["more.txt", "notes.txt"]
