from unicodedata import normalize

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.images.class_folders import LabelledPicture, read_class_folders, tell_odd_names
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError


def made(root, *names):
    for seed, name in enumerate(names):
        save_photo(root / name, seed=seed)
    return root


def read(root, **options):
    found = read_class_folders(root, **options)
    return {each.path.relative_to(root).as_posix(): (each.label, each.split) for each in found}


def test_the_first_folder_is_the_class_and_what_lies_deeper_belongs_to_it(tmp_path):
    made(tmp_path, "cat/1.jpg", "cat/in/the/sun/1.jpg", "Hündin/1.jpg", "dog house/1.PNG", "7/1.webp")
    assert read(tmp_path) == {
        "cat/1.jpg": ("cat", None),
        "cat/in/the/sun/1.jpg": ("cat", None),
        "Hündin/1.jpg": ("Hündin", None),
        "dog house/1.PNG": ("dog house", None),
        "7/1.webp": ("7", None),
    }


def test_names_of_parts_are_known(tmp_path):
    made(tmp_path, "Train/cat/1.jpg", "valid/cat/2.jpg", "testing/dog/x/3.jpg")
    assert read(tmp_path) == {
        "Train/cat/1.jpg": ("cat", "train"),
        "valid/cat/2.jpg": ("cat", "val"),
        "testing/dog/x/3.jpg": ("dog", "test"),
    }
    assert {label for label, _ in read(tmp_path, in_parts=False).values()} == {"Train", "valid", "testing"}


def test_a_train_among_vehicles_is_a_class(tmp_path):
    made(tmp_path, "train/1.jpg", "bus/1.jpg", "tram/1.jpg")
    assert {label for label, _ in read(tmp_path).values()} == {"train", "bus", "tram"}


def test_parts_beside_other_folders_are_asked_about(tmp_path, caplog):
    made(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg", "more/cat/3.jpg")
    with pytest.raises(UserError, match=r"parts train, val and beside them pictures in more: move .*in_parts=false"):
        read(tmp_path)
    assert {label for label, _ in read(tmp_path, in_parts=False).values()} == {"train", "val", "more"}
    assert set(read(tmp_path, in_parts=True)) == {"train/cat/1.jpg", "val/cat/2.jpg"}
    assert "left out 1 of 3 pictures: they lie in no class folder, 1 files: more/cat/3.jpg" in caplog.text


def test_what_is_left_out_is_told(tmp_path, caplog):
    made(tmp_path, "cat/1.jpg", "dog/1.jpg", "cover.jpg", ".cache/1.jpg", "cat/.1.jpg")
    (tmp_path / "bird").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("x")
    assert set(read(tmp_path)) == {"cat/1.jpg", "dog/1.jpg"}
    assert "left out 1 of 3 pictures: they lie in no class folder, 1 files: cover.jpg" in caplog.text
    assert "left out 1 of 3 folders: they hold no picture, 1 files: bird" in caplog.text
    assert "1 .txt" in caplog.text


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([], "any image"),
        (["1.jpg", "2.jpg"], r"folders of classes: 2 files: 1\.jpg, 2\.jpg lie in none"),
        (["train/1.jpg", "val/2.jpg"], "folders of classes"),
        (["val/cat/1.jpg", "test/cat/2.jpg"], "a folder train with pictures beside test, val"),
    ],
)
def test_a_folder_without_classes_is_shown_how_it_has_to_look(tmp_path, names, missing):
    with pytest.raises(DatasetNotFoundError, match=f"(?s)Missing: {missing}.*<root>/cat/any.jpg.*Ways out"):
        read_class_folders(made(tmp_path, *names))


def test_a_part_that_is_there_twice_is_named(tmp_path):
    made(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg", "validation/cat/3.jpg")
    with pytest.raises(UserError, match=r"part val more than once \(val, validation\): merge"):
        read_class_folders(tmp_path)


def test_accents_are_one_name_however_they_are_stored(tmp_path):
    made(tmp_path, normalize("NFD", "train/Café/1.jpg"), normalize("NFC", "val/Café/2.jpg"))
    assert [each.label for each in read_class_folders(tmp_path)] == ["Café", "Café"]


def test_names_that_differ_in_capital_letters_alone_are_told(caplog):
    tell_odd_names(["cat", "Dog", "Owl", "dog"])
    assert "count as different: Dog and dog" in caplog.text
    assert LabelledPicture.__hash__ is not None
