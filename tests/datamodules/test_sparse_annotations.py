"""Sparsely annotated copies of files, through the command line."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from datamodules.detection.sparse.command import main
from datamodules.detection.sparse.reading import read_annotations
from datamodules.detection.sparse.splits import choose_removed
from visionscapes.errors import UserError

SPLITS = [
    *(["--split", split, "--percent", "50"] for split in "1235"),
    ["--split", "4", "--level", "hard"],
    ["--split", "siod"],
]


def coco(n=60, seed=0):
    """Return a file in COCO's format: eight images, of which the last is empty, three classes, some crowds."""
    rng = np.random.default_rng(seed)
    return {
        "info": {"year": 2017, "ä": "ü"},
        "licenses": [{"id": 1}],
        "images": [{"id": 100 - i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(8)],
        "categories": [{"id": 7 * k + 3, "name": name} for k, name in enumerate(["cat", "dog", "traffic light"])],
        "annotations": [
            {
                "id": int(number),
                "image_id": 100 - int(rng.integers(7)),
                "category_id": 7 * int(rng.integers(3)) + 3,
                "bbox": [0.1, 2, 3.25, 1e-3],
                "area": 3.5,
                "segmentation": [[1, 2, 3, 4, 5, 6.125]],
                "iscrowd": int(rng.random() < 0.1),
            }
            for number in rng.permutation(1000)[:n]
        ],
    }


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in.json", coco())


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def run(source, output, *words):
    return main([*words, str(source), str(output)])


def failure(capsys, *words):
    """Return the error of a command, which is one line."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("words", SPLITS)
def test_the_copy_lacks_what_the_record_says_and_nothing_else(source, tmp_path, words):
    output = tmp_path / "new" / "sparse.json"
    assert run(source, output, *words, "--seed", "3") == 0
    record = json.loads((tmp_path / "new" / "sparse.removed.json").read_text())
    original, sparse = json.loads(source.read_text()), json.loads(output.read_text())
    removed = set(record["removed"])
    assert 0 < len(removed) < 60
    kept = [each for each in original["annotations"] if each["id"] not in removed]
    assert list(sparse) == list(original)
    assert sparse == {**original, "annotations": kept}
    assert not any(each["iscrowd"] for each in original["annotations"] if each["id"] in removed)
    assert sorted(path.name for path in output.parent.iterdir()) == ["sparse.json", "sparse.removed.json"]
    assert sorted(COCO(str(output)).getAnnIds()) == sorted(each["id"] for each in kept)


def test_the_record_is_enough_to_do_it_again(source, tmp_path):
    words = ["--split", "5", "--percent", "40", "--seed", "9", "--rounding", "ceil", "--count", "annotations"]
    assert run(source, tmp_path / "a.json", *words, "--refill") == 0
    record = json.loads((tmp_path / "a.removed.json").read_text())
    removed = record.pop("removed")
    assert record == {
        "source": "in.json",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "split": "5",
        "percent": 40.0,
        "seed": 9,
        "options": {"rounding": "ceil", "ensure_one": False, "count": "annotations", "refill": True},
    }
    assert removed == sorted(removed)
    assert run(source, tmp_path / "4.json", "--split", "4", "--level", "easy") == 0
    record = json.loads((tmp_path / "4.removed.json").read_text())
    assert record["level"] == "easy"
    assert "percent" not in record


@pytest.mark.parametrize("words", SPLITS)
def test_the_same_seed_gives_the_same_bytes_and_the_order_in_the_file_does_not_matter(tmp_path, words):
    content = coco()
    source = write(tmp_path / "in.json", content)
    for key in ("images", "categories", "annotations"):
        content[key] = content[key][::-1]
    other = write(tmp_path / "other.json", content)
    for name, path in {"a": source, "b": source, "c": other}.items():
        assert run(path, tmp_path / f"{name}.json", *words) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.removed.json").read_bytes() == (tmp_path / "b.removed.json").read_bytes()
    removed = [json.loads((tmp_path / f"{name}.removed.json").read_text())["removed"] for name in "ac"]
    assert removed[0] == removed[1]
    assert run(source, tmp_path / "d.json", *words, "--seed", "1") == 0
    assert json.loads((tmp_path / "d.removed.json").read_text())["removed"] != removed[0]


def test_arrays_give_the_same_split_as_the_file(source, tmp_path):
    found = read_annotations(source)
    removed = choose_removed(found.images, found.labels, "3", 50, protected=found.protected, ids=found.ids, seed=4)
    assert run(source, tmp_path / "out.json", "--split", "3", "--percent", "50", "--seed", "4") == 0
    record = json.loads((tmp_path / "out.removed.json").read_text())
    assert sorted(found.ids[removed].tolist()) == record["removed"]


def test_the_table_says_what_was_removed(tmp_path, capsys):
    content = coco(0)
    for number in range(10):  # ten cats, four of them in one image; three dogs alone in another; a crowd of dogs
        content["annotations"].append({"id": number, "image_id": 100 if number < 4 else 99, "category_id": 3})
    for number in range(10, 14):
        crowd = {"iscrowd": 1} if number == 13 else {}
        content["annotations"].append({"id": number, "image_id": 98, "category_id": 10, **crowd})
    source = write(tmp_path / "in.json", content)
    assert run(source, tmp_path / "out.json", "--split", "1", "--percent", "100") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": 1")
    assert lines[1] == "images without any annotation: 5 of 8 before, 8 after"
    assert lines[2].endswith(": 0")
    assert run(source, tmp_path / "easy.json", "--split", "4", "--level", "easy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "images without any annotation: 5 of 8 before, 5 after"
    assert lines[2].endswith(": 2")
    assert [line.split() for line in lines[4:]] == [
        ["all", "classes", "13", "3", "23.08"],
        ["cat", "10", "2", "20.00"],
        ["dog", "3", "1", "33.33"],
        ["traffic", "light", "0", "0", "-"],
    ]


@pytest.mark.parametrize("field", ["iscrowd", "difficult", "ignore"])
def test_crowds_and_difficult_objects_stay_whatever_the_field(tmp_path, field):
    content = coco()
    for each in content["annotations"]:
        del each["iscrowd"]
        each[field] = "1" if each["id"] % 2 else None  # some converters write text
    source = write(tmp_path / "voc.json", content)
    assert run(source, tmp_path / "out.json", "--split", "1", "--percent", "100") == 0
    kept = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert kept == [each for each in content["annotations"] if each["id"] % 2]


def test_an_image_with_one_box_keeps_it(tmp_path):
    content = coco(0)
    content["annotations"] = [{"id": 5, "image_id": 100, "category_id": 3}]
    source = write(tmp_path / "in.json", content)
    for name, words in enumerate([*SPLITS[1:], ["--split", "4", "--level", "extreme"]]):
        assert run(source, tmp_path / f"{name}.json", *words) == 0
        assert json.loads((tmp_path / f"{name}.json").read_text()) == content


BROKEN = {
    "no_images": (lambda content: content.update(images=[]), "which is not in the file"),
    "no_annotations": (lambda content: content.update(annotations=[]), "no annotation that could be removed"),
    "only_crowds": (lambda content: [a.update(iscrowd=1) for a in content["annotations"]], "no annotation that could"),
    "image": (lambda content: content["annotations"][4].update(image_id=1, id=4711), "4711 has the image_id 1,"),
    "category": (lambda content: content["annotations"][4].update(category_id=1), "the category_id 1,"),
    "twice": (
        lambda content: content["annotations"].append(content["annotations"][0]),
        "the id of several annotations",
    ),
    "image_twice": (lambda content: content["images"].append(content["images"][-1]), "have the id 93"),
    "category_twice": (lambda content: content["categories"].insert(0, {"id": 3}), "have the id 3"),
    "no_id": (lambda content: content["annotations"][0].pop("id"), "KeyError: 'id'"),
    "text_id": (lambda content: content["annotations"][0].update(id="12"), "'12' of an annotation is not a whole"),
    "fraction_id": (lambda content: content["annotations"][0].update(id=1.5), "1.5 of an annotation is not a whole"),
    "huge_id": (lambda content: content["annotations"][0].update(id=2**70), "not a file of annotations"),
    "list_id": (lambda content: content["annotations"][0].update(image_id=[]), "not a file of annotations"),
    "crowd": (lambda content: content["annotations"][0].update(iscrowd="yes"), "not a file of annotations"),
    "no_key": (lambda content: content.pop("annotations"), "KeyError: 'annotations'"),
    "list": (lambda content: content.update(annotations={"a": 1}), "not a file of annotations"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, capsys, name):
    content, (spoil, message) = coco(), BROKEN[name]
    spoil(content)
    source = write(tmp_path / "in.json", content)
    error = failure(capsys, "--split", "siod", source, tmp_path / "out.json")
    assert message in error
    assert str(source) in error
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(source, capsys, share):
    raw = source.read_bytes()
    source.write_bytes(raw[: int(share * len(raw))])
    assert "not a file of annotations" in failure(capsys, "--split", "siod", source, source.with_name("out.json"))
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("raw", [b"\xff\xfe\xfa", b"[]", b"3", b"[" * 100_000])
def test_a_file_of_something_else_is_refused(source, capsys, raw):
    source.write_bytes(raw)
    assert "not a file of annotations" in failure(capsys, "--split", "siod", source, source.with_name("out.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "6", "--percent", "50"], "no split '6'"),
        (["--split", "1"], "takes a percentage"),
        (["--split", "1", "--percent", "-1"], "from 0 to 100"),
        (["--split", "1", "--percent", "nan"], "from 0 to 100"),
        (["--split", "1", "--percent", "101"], "from 0 to 100"),
        (["--split", "1", "--percent", "50", "--level", "easy"], "no level"),
        (["--split", "4", "--percent", "50"], "no percentage"),
        (["--split", "1", "--percent", "50", "--seed", "-1"], "a seed is"),
        (["--split", "1", "--percent", "50", "--rounding", "up"], "rounding is"),
        (["--split", "1", "--percent", "50", "--refill"], "refill makes no difference"),
    ],
)
def test_settings_that_do_not_exist_are_refused(source, capsys, words, message):
    assert message in failure(capsys, *words, source, source.with_name("out.json"))
    assert list(source.parent.iterdir()) == [source]


def test_a_percentage_below_one_is_pointed_at(source, capsys):
    assert run(source, source.with_name("out.json"), "--split", "1", "--percent", "0.5") == 0
    assert "warning: --percent 0.5 is less than one in a hundred" in capsys.readouterr().err


def test_no_file_is_replaced_unasked(source, tmp_path, capsys):
    output, record = tmp_path / "out.json", tmp_path / "out.removed.json"
    for path in (output, record):
        path.write_text("precious")
        assert f"{path} exists" in failure(capsys, "--split", "siod", source, output)
        assert path.read_text() == "precious"
        path.unlink()
    output.write_text("old")
    assert run(source, output, "--split", "siod", "--overwrite") == 0
    assert json.loads(output.read_text())["info"]["year"] == 2017


def test_the_source_is_never_replaced(source, tmp_path, capsys):
    raw = source.read_bytes()
    linked = tmp_path / "link.json"
    linked.symlink_to(source)
    hard = tmp_path / "hard.json"
    os.link(source, hard)
    for output in (source, linked, hard, tmp_path / "." / "in.json"):
        assert "would replace" in failure(capsys, "--split", "siod", "--overwrite", source, output)
    record = source.rename(tmp_path / "x.removed.json")
    assert "would replace" in failure(capsys, "--split", "siod", "--overwrite", record, tmp_path / "x.json")
    assert record.read_bytes() == raw


def test_places_that_cannot_be_read_or_written_are_named(source, tmp_path, capsys):
    (tmp_path / "folder.json").mkdir()
    words = ["--split", "siod"]
    assert "No such file" in failure(capsys, *words, tmp_path / "missing.json", tmp_path / "out.json")
    assert "Is a directory" in failure(capsys, *words, tmp_path, tmp_path / "out.json")
    assert "is a folder" in failure(capsys, *words, source, tmp_path / "folder.json")
    assert "ends in .json" in failure(capsys, *words, source, tmp_path / "out.txt")
    assert "cannot be written" in failure(capsys, *words, source, source / "out.json")


@pytest.mark.parametrize("place", ["out.json.partial", "out.removed.json.partial"])
def test_a_full_disk_leaves_nothing_behind(source, tmp_path, capsys, monkeypatch, place):
    write_text = Path.write_text

    def full(path, text):
        write_text(path, text[: len(text) // 2])
        if path.name == place:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left" in failure(capsys, "--split", "siod", source, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == [source]


def test_an_interruption_leaves_nothing_behind(source, tmp_path, capsys, monkeypatch):
    def interrupted(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    assert run(source, tmp_path / "out.json", "--split", "siod") == 130
    assert "stopped" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_the_module_runs_as_a_program(source, tmp_path):
    command = [sys.executable, "-m", "datamodules.sparse_annotations", "--split", "9", source, tmp_path / "out.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no split '9'")
    assert "Traceback" not in done.stderr


def test_reading_raises_for_callers_too(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_annotations(tmp_path / "missing.json")
