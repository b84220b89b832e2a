import logging
import os

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.sources import folders as source_folders
from datamodules.sources.folders import SourceFiles, check_leaks, duplicates, find_discovery_images, find_labelled
from tests.helpers.image_files import save_photo, truncate
from visionscapes.errors import UserError


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(source_folders, "FEW_IMAGES", 2)


def save(root, *names):
    for name in names:
        save_photo(root / name, 12, 10, seed=sum(map(ord, name)))
    return root


def discovery(folder, arrivals=None, truth="auto", classes=None, skip_unreadable=False):
    return find_discovery_images(folder, arrivals or {}, truth, classes, skip_unreadable)


def test_labelled_images_are_those_of_the_sub_folders(tmp_path):
    save(tmp_path, "b/2.png", "b/1.png", "a/deep/er/1.PNG", "a/0.png", "a/note.png", "loose.png", ".hidden/1.png")
    (tmp_path / "a" / "list.txt").write_text("no image")
    found = find_labelled(tmp_path, None, False)
    assert found.names == ["a/0.png", "a/deep/er/1.PNG", "a/note.png", "b/1.png", "b/2.png"]
    assert found.sources == ["a", "a", "a", "b", "b"]


def test_what_is_left_out_of_the_folders_is_told(tmp_path, caplog):
    labelled = save(tmp_path / "labelled", "a/0.png", "a/1.png", "b/0.png", "b/1.png")
    unknown = save(tmp_path / "unknown", "c/0.png")
    with caplog.at_level(logging.WARNING):
        find_labelled(labelled, None, False)
        discovery(unknown)
        assert not caplog.records
        save(labelled, "loose.png")
        for place in (labelled, unknown):
            (place / "empty").mkdir()
            (place / ".hidden").mkdir()
        find_labelled(labelled, None, False)
        discovery(unknown)
    assert [record.getMessage() for record in caplog.records] == [
        "The labelled set: left out 1 of 5 images: they lie in no folder of a source, 1 files: loose.png",
        "The labelled set: left out 1 of 3 folders of sources: they hold no image, empty",
        "The discovery set: left out 1 of 2 folders of sources: they hold no image, empty",
    ]
    caplog.clear()
    find_labelled(labelled, ["a", "b"], False)
    assert "empty" not in caplog.text  # nobody asked for it


def test_classes_choose_folders_whatever_their_order(tmp_path):
    save(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "extra/1.png")
    assert set(find_labelled(tmp_path, ["b", "a"], False).sources) == {"a", "b"}


def test_an_unknown_class_is_named_with_those_that_exist(tmp_path):
    save(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    with pytest.raises(UserError, match=r"classes has c, but .* has a, b: correct the names"):
        find_labelled(tmp_path, ["a", "b", "c"], False)
    with pytest.raises(UserError, match=r"discovery_classes has c, but .* has a, b"):
        discovery(tmp_path, classes=["c"])


def test_an_empty_class_is_not_found(tmp_path):
    save(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (tmp_path / "c").mkdir()
    with pytest.raises(DatasetNotFoundError, match="The class c was not found"):
        find_labelled(tmp_path, ["a", "b", "c"], False)
    assert set(find_labelled(tmp_path, None, False).sources) == {"a", "b"}  # nobody asked for it


def test_one_class_alone_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has 1 classes \(a\) and needs at least two"):
        find_labelled(save(tmp_path, "a/1.png", "a/2.png"), None, False)


def test_images_in_no_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="its images lie in no sub-folder"):
        find_labelled(save(tmp_path, "1.png", "2.png"), None, False)


def test_a_class_of_one_image_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"The class b in .* has a single image and needs at least 2"):
        find_labelled(save(tmp_path, "a/1.png", "a/2.png", "b/1.png"), None, False)


def test_a_class_of_two_images_is_taken_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(source_folders, "FEW_IMAGES", 3)
    save(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png")
    with caplog.at_level(logging.WARNING):
        assert len(find_labelled(tmp_path, None, False).paths) == 5
    assert "1 classes of the labelled set have fewer than 3 images (a: 2)" in caplog.text


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_or_empty_folder_names_the_option(tmp_path, missing):
    folder = tmp_path / "none"
    if not missing:
        folder.mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"labelled set (?s:.*)--data.init_args.labelled"):
        find_labelled(folder, None, False)
    with pytest.raises(DatasetNotFoundError, match=r"discovery set (?s:.*)--data.init_args.discovery"):
        discovery(folder)
    save(tmp_path / "some", "1.png")
    with pytest.raises(DatasetNotFoundError, match=r"arrives in round 3 (?s:.*)--data.init_args.arrivals"):
        discovery(tmp_path / "some", {3: [folder]})


def test_sub_folders_are_the_truth_if_all_images_lie_in_one(tmp_path):
    save(tmp_path, "a/1.png", "z/x/1.png")
    assert discovery(tmp_path).sources == ["a", "z"]
    assert discovery(tmp_path, truth=False).sources == [None, None]
    save(tmp_path, "loose.png")
    assert discovery(tmp_path).sources == [None, None, None]
    for options in ({"truth": True}, {"classes": ["a"]}):
        with pytest.raises(UserError, match=r"1 images lie directly in .*, loose.png the first"):
            discovery(tmp_path, **options)


def test_arrivals_follow_in_order_of_their_round(tmp_path):
    save(tmp_path, "now/b/1.png", "now/a/1.png", "five/c/1.png", "three/2.png", "three/1.png", "more/a/1.png")
    arrivals = {5: [tmp_path / "five"], 3: [tmp_path / "three", tmp_path / "more"]}
    found = discovery(tmp_path / "now", arrivals)
    assert found.names == [
        "a/1.png",
        "b/1.png",
        "round_3/more/a/1.png",
        "round_3/three/1.png",
        "round_3/three/2.png",
        "round_5/five/c/1.png",
    ]
    assert found.sources == ["a", "b", "a", "three", "three", "c"]
    assert found.rounds == [1, 1, 3, 3, 3, 5]
    flat = save(tmp_path / "flat", "1.png")
    assert discovery(flat, arrivals).sources == [None] * 5  # a truth of a part is none


def test_what_arrives_later_is_not_there_before(tmp_path):
    save(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    found = discovery(tmp_path, {2: [tmp_path / "b"]})
    assert found.names == ["a/1.png", "round_2/b/1.png", "round_2/b/2.png"]
    assert found.rounds == [1, 2, 2]
    with pytest.raises(UserError, match="Nothing is left to be discovered in round 1"):
        discovery(tmp_path, {2: [tmp_path]})


def test_two_arrivals_of_one_name_are_refused(tmp_path):
    save(tmp_path, "now/1.png", "x/new/1.png", "y/new/1.png")
    with pytest.raises(UserError, match=r"the name round_2/new/1.png: rename"):
        discovery(tmp_path / "now", {2: [tmp_path / "x" / "new", tmp_path / "y" / "new"]})


def test_unreadable_files_are_left_out_and_named(tmp_path, caplog):
    save(tmp_path, "a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png")
    truncate(tmp_path / "a" / "2.png")
    with caplog.at_level(logging.WARNING):
        found = find_labelled(tmp_path, None, True)
    assert found.names == ["a/1.png", "a/3.png", "b/1.png", "b/2.png"]
    assert "Left out 1 of 5 images" in caplog.text
    assert "2.png" in caplog.text
    assert len(discovery(tmp_path, skip_unreadable=True).paths) == 4
    assert len(find_labelled(tmp_path, None, False).paths) == 5
    for name in ("b/1.png", "b/2.png"):
        truncate(tmp_path / name)
    with pytest.raises(UserError, match="No image of the class b below"):
        find_labelled(tmp_path, ["a", "b"], True)


def listed(root, *names):
    found = SourceFiles()
    for name in names:
        found.add(root / name, name.split("/")[0], name)
    return found


def test_duplicates_are_found_by_content(tmp_path):
    save(tmp_path, "a/1.png", "a/2.png", "d/9.png")
    (tmp_path / "d" / "same.png").write_bytes((tmp_path / "a" / "1.png").read_bytes())
    os.link(tmp_path / "a" / "2.png", tmp_path / "d" / "link.png")
    almost = bytearray((tmp_path / "a" / "1.png").read_bytes())
    almost[50] ^= 1
    (tmp_path / "d" / "almost.png").write_bytes(almost)
    first, second = sorted((tmp_path / "a").iterdir()), sorted((tmp_path / "d").iterdir())
    assert [path.name for path in duplicates(first, second)] == ["link.png", "same.png"]


def test_a_picture_in_both_sets_is_warned_of(tmp_path, caplog):
    save(tmp_path, "a/1.png", "b/1.png")
    both = listed(tmp_path, "a/1.png", "b/1.png")
    with caplog.at_level(logging.WARNING):
        check_leaks(both, listed(tmp_path, "b/1.png"))
    assert "1 images of the discovery set are in the labelled set too" in caplog.text
    assert "formats" not in caplog.text


def test_formats_that_differ_by_class_are_warned_of(tmp_path, caplog):
    save(tmp_path, "a/1.png", "b/1.jpg", "d/1.png")
    (tmp_path / "b" / "2.png").write_bytes((tmp_path / "b" / "1.jpg").read_bytes())  # the content counts
    (tmp_path / "b" / "3.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        check_leaks(listed(tmp_path, "a/1.png", "b/2.png", "b/3.png"), listed(tmp_path, "d/1.png"))
    assert "a: PNG; b: JPEG" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        check_leaks(listed(tmp_path, "a/1.png", "d/1.png"), listed(tmp_path, "b/1.jpg"))
    assert caplog.text == ""
