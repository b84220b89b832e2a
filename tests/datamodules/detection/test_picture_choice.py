from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.detection.coco import COCODetection
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.picture_choice import AmbiguousNameError, differing, one_of, parts_meant
from datamodules.detection.picture_places import locate_pictures
from tests.helpers.image_files import save_photo
from tests.helpers.replicas_detection import make_coco_detection
from visionscapes.errors import UserError


def files(root, *names, same=False):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        save_photo(root / name, 20, 10, seed=0 if same else seed)
    return [str(root / name) for name in names]


def located(root, name, file="instances_train.json", **options):
    coco = read_annotations(make_coco_detection(root.parent / "coco") / "annotations" / "instances_train2017.json")
    coco = replace(coco.of(np.arange(1)), files=(name,), path=root / "annotations" / file)
    return locate_pictures(coco, [root], **options)[0]


@pytest.mark.parametrize("places", [("cam1/0.png", "cam2/0.png"), ("training/0.png", "zvalidation/0.png")])
def test_of_different_pictures_of_one_name_none_is_taken(tmp_path, places):
    files(tmp_path / "set", *places)
    with pytest.raises(
        UserError, match=r"'0\.png' can be .*/0\.png or .*/0\.png, which differ: name the folder"
    ) as error:
        located(tmp_path / "set", "0.png", file="instances_val.json", part="val", option="--data.init_args.val_images")
    assert "--data.init_args.val_images=<folder>" in str(error.value)
    assert "/".join(places[0].split("/")) in str(error.value)


def test_without_an_option_the_names_are_to_be_written(tmp_path):
    files(tmp_path / "set", "cam1/0.png", "cam2/0.png")
    with pytest.raises(UserError, match=r'which differ: write the folder into "file_name"'):
        located(tmp_path / "set", "0.png")


def test_the_ends_of_paths_and_other_cases_are_not_guessed_either(tmp_path):
    files(tmp_path / "set", "cam1/0.png", "cam2/0.png")
    for name in ("/home/anna/0.png", "0.PNG"):
        with pytest.raises(UserError, match="which differ"):
            located(tmp_path / "set", name)
    assert located(tmp_path / "set", "/home/anna/cam2/0.png") == [f"{tmp_path}/set/cam2/0.png"]


def test_copies_are_one_picture(tmp_path):
    first, _ = files(tmp_path / "set", "cam1/0.png", "cam2/0.png", same=True)
    assert located(tmp_path / "set", "0.png") == [first]


def test_a_folder_that_says_the_part_is_taken_and_told(tmp_path, caplog):
    train, val = files(tmp_path / "set", "my_training/0.png", "zz/validation/0.png")
    assert located(tmp_path / "set", "0.png", part="train") == [train]
    assert 'were found in a folder of another name, of several in that whose name says "train", such as' in caplog.text
    assert located(tmp_path / "set", "0.png", file="mine.json", part="val") == [val]


@pytest.mark.parametrize(
    ("path", "part", "parts"),
    [
        ("a/instances_train.json", "", ("train",)),
        ("a/instances_train2017.json", "val", ("train",)),
        ("a/instances_Validation.json", "train", ("val",)),
        ("a/lvis_v1_val.json", "val", ("val",)),
        ("test/_annotations.coco.json", "val", ("test",)),
        ("valid/labels.json", "val", ("val",)),
        ("a/mine.json", "val", ("val", "test")),
        ("a/mine.json", "train", ("train",)),
        ("a/instances_trainval.json", "train", ("train",)),
        ("a/train_val.json", "train", ()),
        ("train_wagons/mine.json", "val", ("val", "test")),  # a folder that is not called so and nothing else
        ("a/valves.json", "train", ("train",)),
    ],
)
def test_the_name_of_the_file_says_the_part_before_its_option(path, part, parts):
    assert parts_meant(Path(path), part) == parts


def test_the_folder_above_all_files_says_nothing(tmp_path):
    found = files(tmp_path / "train_set", "a/0.png", "b/0.png")
    with pytest.raises(AmbiguousNameError, match=r"a/0\.png or .*b/0\.png"):
        one_of(found, ("train",))
    with pytest.raises(AmbiguousNameError):  # two say it
        one_of(files(tmp_path / "set", "train/0.png", "train2/0.png"), ("train",))


def test_paths_keep_their_form(tmp_path, monkeypatch):
    files(tmp_path, "0.png")
    monkeypatch.chdir(tmp_path)
    assert one_of(["./0.png", "0.png"], ()) == ("./0.png", "")


def test_folders_are_compared_by_sizes_and_some_bytes(tmp_path):
    names = [f"{place}.png" for place in range(40)]
    for folder in ("a", "b"):
        files(tmp_path / folder, *names)
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert differing(folders, names) is None
    (tmp_path / "b" / "37.png").write_bytes(b"of another size")
    assert differing(folders, names) == "37.png"
    (tmp_path / "b" / "2.png").write_bytes((tmp_path / "a" / "2.png").read_bytes()[::-1])
    assert differing(folders, names) == "2.png"
    assert differing([folders[0], f"{folders[0]}/../a"], ["never looked at.png"]) is None


@pytest.mark.parametrize("places", [("set", "set/images"), ("set/images", "set/data")])
def test_two_of_the_usual_folders_with_different_pictures_are_refused(tmp_path, places):
    folders = [tmp_path / place for place in places]
    coco = read_annotations(make_coco_detection(tmp_path / "coco") / "annotations" / "instances_train2017.json")
    coco = replace(coco.of(np.arange(2)), files=("0.png", "1.png"))
    for folder in folders:
        files(folder, "0.png", "1.png")
    assert locate_pictures(coco, folders)[0] == [f"{folders[0]}/0.png", f"{folders[0]}/1.png"]
    save_photo(folders[1] / "1.png", 20, 10, seed=7)
    with pytest.raises(UserError, match=rf"'1\.png' can be {folders[0]}/1\.png or {folders[1]}/1\.png, which differ"):
        locate_pictures(coco, folders)
    (folders[1] / "0.png").unlink()  # now the first alone holds all
    assert locate_pictures(coco, folders)[0] == [f"{folders[0]}/0.png", f"{folders[0]}/1.png"]


def test_coco_names_its_options(tmp_path):
    root = make_coco_detection(tmp_path)
    (root / "train2017").rename(root / "pictures")
    for path in sorted((root / "pictures").glob("*.jpg")):
        files(root / "camera", path.name)
    (root / "annotations" / "instances_train2017.json").rename(root / "mine.json")
    data = COCODetection(str(root), train_annotations="mine.json", val_fraction=0.5)
    with pytest.raises(UserError, match=r"which differ: .*--data\.init_args\.train_images=<folder>"):
        data.setup("fit")
