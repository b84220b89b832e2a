import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import cli
from command_line.subcommands.data_check.command import NUMBERS, PAGE, PICTURES
from tests.helpers.image_files import save_photo, save_photos, truncate
from tests.helpers.replicas_detection import edit_json, make_coco_detection


def run(*words):
    """Return the exit status of check-data."""
    try:
        cli.main(["check-data", *map(str, words)])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


SMALL = ["--data.image_size=16", "--data.batch_size=2", "--data.num_workers=0", "--name=x"]


def folder():
    return next(Path("runs").glob("*/x"))


def numbers():
    return json.loads((folder() / NUMBERS).read_text())


class Requests(HTMLParser):
    """What a page would ask for."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.asked += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data") and value]
        self.open += [tag] if tag not in ("meta", "img", "br") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page():
    text = (folder() / PAGE).read_text()
    parser = Requests()
    parser.feed(text)
    assert parser.open == [], "every tag is closed"
    assert all(asked.startswith("data:image/png;base64,") for asked in parser.asked)
    assert not re.search(r"url\(|@import|<script|https?://", text)
    return text


def test_sound_photographs_end_with_0(capsys):
    save_photos(Path("photos"), 12, 50, 40)
    assert run("--data=datamodules.ImageFolder", "--data.root=photos", *SMALL) == 0
    output = capsys.readouterr().out
    assert "0 errors, 0 warnings" in output
    assert "50 x 40" in output
    found = numbers()
    assert (found["data"], found["errors"], found["warnings"]) == ("ImageFolder", 0, 0)
    assert sum(part["samples"] for part in found["parts"].values()) == 12
    assert found["loaders"]["train"]["entries"]["image"]["shape"] == "2 x 3 x 16 x 16"
    assert "Nothing stands in the way" in page()
    with Image.open(folder() / PICTURES / "examples_train.png") as picture:
        assert picture.width > 100


def test_broken_photographs_end_with_2_and_are_all_named(capsys):
    save_photos(Path("photos"), 12)
    for name in ("a.jpg", "b <i>.jpg"):
        truncate(save_photo(Path("photos", name), 100, 100))
    assert run("--data=datamodules.ImageFolder", "--data.root=photos", "--data.val_fraction=0", *SMALL) == 2
    output = capsys.readouterr()
    assert "a training on these data would fail" in output.err
    assert "Traceback" not in output.err
    (unreadable,) = [part["unreadable"] for part in numbers()["parts"].values()]
    assert [re.search(r"photos/(.*?):", text)[1] for text in unreadable] == ["a.jpg", "b <i>.jpg"]
    text = page()
    assert "A training on these data would fail" in text
    assert "b &lt;i&gt;.jpg" in text
    assert "<i>" not in text
    assert "failed: a training on these data would fail" in (folder() / "manifest.json").read_text()


def test_annotations_of_coco_are_looked_over(capsys):
    coco = make_coco_detection(Path())
    for number in range(6):
        save_photo(coco / "val2017" / f"{number}.jpg", 48, 48, seed=number)
    options = ["--data.train_sizes=[32]", "--data.test_size=32", "--data.batch_size=2", "--data.num_workers=0"]
    assert run("--data=datamodules.COCODetection", f"--data.root={coco}", *options, "--name=x") == 0
    found = numbers()
    assert found["parts"]["train"]["classes"]["counted"] == "boxes"
    assert dict(found["parts"]["train"]["classes"]["counts"])["car"] >= 1
    assert found["parts"]["train"]["boxes"]["count"] > 0
    assert "box_sizes.png" in [path.name for path in (folder() / PICTURES).iterdir()]
    assert "Sizes of the boxes" in page()
    assert "Aspect ratios of the boxes" in page()


def test_a_missing_and_a_broken_picture_of_coco_are_errors(capsys):
    coco = make_coco_detection(Path())
    truncate(coco / "train2017" / "000000000009.jpg")
    options = ["--data.train_sizes=[32]", "--data.test_size=32", "--data.batch_size=2", "--data.num_workers=0"]
    assert run("--data=datamodules.COCODetection", f"--data.root={coco}", *options, "--name=x") == 2
    assert "000000000009.jpg" in capsys.readouterr().err
    (coco / "train2017" / "000000000009.jpg").unlink()
    assert run("--data=datamodules.COCODetection", f"--data.root={coco}", *options, "--name=y") == 2
    assert "000000000009.jpg" in capsys.readouterr().err


def test_annotations_without_a_box_of_the_right_kind_are_an_error(capsys):
    coco = make_coco_detection(Path())
    edit_json(coco / "annotations" / "instances_train2017.json", lambda content: content.pop("annotations"))
    assert run("--data=datamodules.COCODetection", f"--data.root={coco}", "--name=x") == 2
    assert "instances_train2017.json" in capsys.readouterr().err


def test_a_configuration_of_a_method_is_enough_and_no_model_is_built():
    config = Path(__file__).parents[4] / "configs" / "grit.yaml"
    small = ["--data.images=4", "--data.test_images=2", "--data.image_size=32", "--data.batch_size=2", "--name=x"]
    assert cli.main(["check-data", "--config", str(config), *small]).model is None
    assert folder() == Path("runs/grit/x")
    assert "examples_val.png" in [path.name for path in (folder() / PICTURES).iterdir()]


def test_how_much_is_looked_at_can_be_chosen(capsys):
    save_photos(Path("photos"), 12)
    words = ["--data=datamodules.ImageFolder", "--data.root=photos", "--data.val_fraction=0", *SMALL]
    assert run(*words, "--files=5", "--batches=1") == 0
    assert "12 (5 read)" in capsys.readouterr().out
    found = numbers()
    assert (found["parts"]["train"]["looked_at"], found["loaders"]["train"]["looked_at"]) == (5, 1)
    assert run(*words, "--files=0") == 2


def test_no_data_say_what_is_missing(capsys):
    assert run("--name=x") == 2
    assert "data" in capsys.readouterr().err
