from pathlib import Path

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.inputs import FoundFiles
from datamodules.translation.pair_files import by_stem, find_pairs, folder_or_none, names_of_their_own
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError


def test_files_by_their_names_without_suffix():
    assert by_stem([Path("x/b.png"), Path("y/a.jpg")], "x") == {"a": Path("y/a.jpg"), "b": Path("x/b.png")}
    with pytest.raises(UserError, match=r"x/a\.png and y/a\.jpg have the same name .* remove one of them in folder"):
        by_stem([Path("x/a.png"), Path("y/a.jpg")], "folder")


def test_names_are_as_short_as_they_can_be_and_differ_on_every_machine():
    root = Path("root")
    paths = [root / each for each in ("a.png", "b.png", "deep/B.jpg", "deep/c.png", "deep-c.png")]
    names = names_of_their_own(FoundFiles(paths, root))
    assert names[0] == "a"
    assert names[3:] == ["c", "deep-c"]
    assert len({name.casefold() for name in names}) == len(paths)


def test_one_side_of_pairs_is_found_or_what_is_missing_is_said(tmp_path):
    save_photo(tmp_path / "a.png")
    assert find_pairs(tmp_path, "styles", "style images", "tree").paths == [tmp_path / "a.png"]
    with pytest.raises(DatasetNotFoundError, match=r"Give the style images as --data\.init_args\.styles"):
        find_pairs(tmp_path / "nowhere", "styles", "style images", "tree")


def test_an_optional_folder_may_start_at_home():
    assert folder_or_none(None) is None
    assert folder_or_none("~/maps") == Path.home() / "maps"
