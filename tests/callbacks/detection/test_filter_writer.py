import shutil
from dataclasses import replace

import numpy as np
import pytest

from callbacks.detection.filter_writer import STEP_WORDS, FilterWriter, verdict_of
from datamodules.detection.generated_pictures import GeneratedPictures
from lightning_modules.gen2det.filtering import STEPS_WITH_COPIES, PictureEvidence
from lightning_modules.gen2det.filtering_module import GeneratedPictureFilter
from networks.image_scores import Contrast
from tests.callbacks.detection.test_generated_picture_writer import generate, scenes
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def test_the_line_about_a_picture_leaves_crowds_alone():
    boxes, labels, seen = np.zeros((2, 4), np.float32), np.array([0, 1]), np.array([0.1, 0.9], np.float32)
    picture = PictureEvidence("a-0", 0.25, size=(9, 9), boxes=boxes, labels=labels, seen=seen)
    own = {"source_id": 1, "category_id": 3, "repainted": True, "bbox": [0, 0, 1, 1]}
    annotations = [own | {"id": k, "iscrowd": k // 3} for k in (1, 2, 3)]
    line = verdict_of(picture, ["unseen", "kept"], annotations)
    assert [(each["id"], each["seen"], each["verdict"]) for each in line["annotations"]] == [
        (1, 0.1, "unseen"),
        (2, 0.9, "kept"),
    ]
    assert {each["verdict"] for each in verdict_of(picture, None, annotations)["annotations"]} == {"picture"}
    assert all("loss" not in each for each in line["annotations"])
    measured = replace(picture, losses=np.array([1.25, 0.1], np.float32))
    line = verdict_of(measured, ["copy", "copy"], annotations)
    assert [(each["loss"], each["verdict"]) for each in line["annotations"]] == [(1.25, "copy"), (0.1, "copy")]


def test_every_step_has_words():
    assert tuple(STEP_WORDS) == STEPS_WITH_COPIES


def filtered(folder, devices=1):
    """Filter the pictures in a folder by their contrast; half of the real pictures have more."""
    data = GeneratedPictures(str(folder), real=scenes(), batch_size=1)
    trainer = quiet_trainer(folder.parent / "run", [FilterWriter()], devices=devices, use_distributed_sampler=False)
    trainer.predict(GeneratedPictureFilter(image_score=Contrast(), percentile=30, instances=False), datamodule=data)
    return data


def on_two(rank, folder):
    filtered(folder, devices=2)


def results_in(folder):
    return {name: (folder / name).read_bytes() for name in ("filtered.json", "filter.jsonl", "filter.json")}


@pytest.mark.slow
def test_two_processes_leave_what_one_does_and_know_it_afterwards(tmp_path):
    generate(tmp_path / "one", copies=2)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.copytree(tmp_path / "one", tmp_path / "few")
    assert filtered(tmp_path / "one").known == {}
    two_processes(on_two, tmp_path / "two")
    assert results_in(tmp_path / "two") == results_in(tmp_path / "one")
    parts = list((tmp_path / "two" / "evidence").rglob("*.jsonl"))
    assert sorted(len(part.read_text().splitlines()) for part in parts) == [3, 3]
    assert len(filtered(tmp_path / "two").known) == 6
    assert results_in(tmp_path / "two") == results_in(tmp_path / "one")
    # What one process knew of five pictures, two go on with, one of which has nothing to do.
    (part,) = (tmp_path / "one" / "evidence").rglob("*.jsonl")
    there = tmp_path / "few" / part.relative_to(tmp_path / "one")
    there.parent.mkdir(parents=True)
    there.write_text("".join(part.read_text().splitlines(keepends=True)[:5]))
    two_processes(on_two, tmp_path / "few")
    assert results_in(tmp_path / "few") == results_in(tmp_path / "one")


def test_options_have_bounds():
    with pytest.raises(UserError, match=r"FilterWriter\.early is 0"):
        FilterWriter(early=0)
