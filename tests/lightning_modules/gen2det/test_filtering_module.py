"""What is asked of a detector; the rest is driven by tests/configs/test_gen2det_filter.py."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.detection.prediction import batch_of as detect_batch
from lightning_modules import Detector
from lightning_modules.gen2det.feedback import Feedback
from lightning_modules.gen2det.filtering import PictureEvidence, Rules
from lightning_modules.gen2det.filtering_module import GeneratedPictureFilter
from lightning_modules.gen2det.hardness import instance_losses
from networks.frozen import Frozen
from networks.image_scores import Contrast
from tests.helpers.drawn_detection import drawn_batch
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.small_detectors import FPN, RETINA, TWO
from tests.lightning_modules.gen2det.cases import module as detector_module
from visionscapes.errors import UserError


class Judge:
    """Sees a thing of its own class 1 in every picture."""

    def __init__(self, categories, num_classes=2):
        self.categories, self.num_classes = categories, num_classes

    def predict_step(self, batch, batch_idx):
        box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        return [{"boxes": box, "scores": torch.tensor([0.7]), "labels": torch.tensor([1])} for _ in batch["image"]]


def judged_by(judge, **options):
    module = GeneratedPictureFilter(instances=False, **options)
    object.__setattr__(module, "judge", judge)
    return module


def batch():
    image = torch.full((3, 12, 14), 100, dtype=torch.uint8)
    boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 9]], np.float32)
    return {
        "task": "filter", "image": [image], "detect": {"image": [image]}, "name": ["a"], "size": [(12, 14)],
        "boxes": [boxes], "labels": [np.array([0, 1])],
    }  # fmt: skip


@pytest.mark.parametrize(("names", "seen"), [(["cat", "dog"], [0.0, 0.7]), (["dog", "cat"], [0.7, 0.0])])
def test_classes_are_matched_by_name(names, seen):
    module = judged_by(Judge([{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}]))
    module._labels = module._matched(names, [0, 1])
    (found,) = module.predict_step(batch(), 0)
    assert found.seen.tolist() == pytest.approx(seen)


def test_without_names_as_many_classes_are_enough_and_others_are_refused():
    assert judged_by(Judge([]))._matched(["cat", "dog"], [0, 1]) == {0: 0, 1: 1}
    for judge in (Judge([], num_classes=3), Judge([{"id": 1, "name": "cat"}])):
        with pytest.raises(UserError, match="other classes"):
            judged_by(judge)._matched(["cat", "dog"], [0, 1])
    assert judged_by(Judge([], num_classes=3), class_aware=False)._matched(["cat", "dog"], [0, 1]) == {}


def test_a_class_that_no_annotation_is_of_need_not_be_known():
    judge = judged_by(Judge([{"id": 1, "name": "dog"}]))
    assert judge._matched(["ghost", "dog"], [1]) == {1: 0}
    with pytest.raises(UserError, match="'ghost'"):
        judge._matched(["ghost", "dog"], [0, 1])


def test_scores_of_real_and_generated_pictures_are_the_same_ones():
    module = GeneratedPictureFilter(instances=False, image_score=Contrast())
    given = batch()
    (real,) = module.predict_step(given | {"task": "real"}, 0)
    (made,) = module.predict_step(given, 0)
    assert made.score == real
    assert made.seen.tolist() == [1.0, 1.0]
    assert module.predict_step({"task": "end"}, 0) == []


def test_there_has_to_be_a_detector():
    with pytest.raises(UserError, match=r"--model\.detector"):
        GeneratedPictureFilter()


def measuring(names=("cat", "dog"), **options):
    """Return a filter with a small detector of 12 classes, of which two have these names; it measures losses."""
    judge = detector_module(FPN, Detector).eval()
    judge.categories = [{"id": k, "name": f"class {k}"} for k in range(12)]
    for label, name in zip((3, 7), names, strict=True):
        judge.categories[label]["name"] = name
    module = judged_by(judge, **options)
    module.feedback = Feedback(losses=True)
    return module


@torch.no_grad()
def test_losses_are_those_of_the_boxes_in_the_picture_that_the_detector_sees():
    module = measuring()
    module._labels = module._matched(["dog", "cat"], [0, 1])
    image = drawn_batch([TWO], (64, 64))["image"][0]
    given = batch() | {"layout": ["a"], "size": [(32, 16)]}
    given["detect"] = detect_batch([Image.fromarray(image.permute(1, 2, 0).numpy())], 64, 64)
    given["detect"]["size"] = [torch.tensor([32, 16])]  # which was enlarged, in height twice and in width four times
    (found,) = module.predict_step(given, 0)
    boxes = torch.tensor([[0.0, 0, 40, 18], [0, 0, 40, 18]])
    (expected,) = instance_losses(module.judge.detector, [image], [boxes], [torch.tensor([7, 3])])
    assert found.losses == pytest.approx(expected.numpy(), rel=1e-5)
    assert found.layout == "a"
    recalled = module.recalled(
        {"name": "a", "layout": "a", "size": (32, 16), "boxes": found.boxes, "labels": found.labels},
        {"score": 0.0, "seen": [0.0, 0.5], "losses": [1.5, 2.5]},
    )
    assert recalled.losses.tolist() == [1.5, 2.5]


def test_evidence_of_losses_is_apart_and_what_is_chosen_by_them_is_not():
    module, classes = measuring(), ["cat", "dog"]
    module.feedback = Feedback()
    asked = (module.tau_iou, module.class_aware, tuple(classes), repr(None))
    plain = Frozen(
        compute=lambda images: (images,), networks=(module.judge.detector,), settings=("None", asked)
    ).digest()
    assert module.evidence_digest(classes) == plain, "as before there were losses"
    module.feedback = Feedback(keep=1, choose="random")
    assert module.evidence_digest(classes) == plain
    module.feedback = Feedback(losses=True)
    measured = module.evidence_digest(classes)
    assert measured != plain
    hardest, easiest = (Feedback(keep=1, choose=which) for which in ("hardest", "easiest"))
    for instances, feedback in ((False, hardest), (True, easiest)):
        module.instances, module.feedback = instances, feedback
        assert module.evidence_digest(classes) == measured


class Data:
    categories = ("cat", "dog")


def decided(module, pictures, monkeypatch):
    monkeypatch.setattr(GeneratedPictureFilter, "trainer", SimpleNamespace(datamodule=Data()))
    return module.decide(pictures, [])


def picture(name, losses, seen):
    boxes = np.array([[0, 0, 10, 9]] * len(losses), np.float32)
    return PictureEvidence(
        name, 1.0, size=(12, 14), boxes=boxes, labels=np.zeros(len(losses), np.int64),
        seen=np.array(seen, np.float32), losses=np.array(losses, np.float32), layout=name[0],
    )  # fmt: skip


def test_the_hardest_that_the_detector_sees_and_the_hardest_of_all(monkeypatch):
    """Copies of two pictures; what is hardest is not seen, and of one picture nothing is."""
    pictures = [picture("a-0", [1, 9], [0.9, 0]), picture("a-1", [2, 3], [0.9, 0.8]), picture("b-0", [8], [0.0])]
    module = measuring()
    module.feedback = Feedback(keep=1, choose="hardest")
    module.instances = True
    found = decided(module, pictures, monkeypatch)
    assert found["verdicts"] == [["copy", "unseen"], ["kept", "kept"], ["unseen"]]
    assert found["kept"] == [False, True, False]
    assert (found["counts"]["unseen"], found["counts"]["copy"], found["counts"]["many"]) == ([3, 0], [2, 0], [2, 0])
    assert found["losses"]["classes"] == [2.0, None]
    assert found["losses"]["kept"] == 2.5
    module.instances = False
    found = decided(module, pictures, monkeypatch)
    assert found["verdicts"] == [["kept", "kept"], ["copy", "copy"], ["kept"]]
    assert found["kept"] == [True, False, True]
    assert [each["seen"] for each in found["losses"]["quartiles"]] == [1.0, 1.0, 0.0, 0.0]
    assert module.settings()["feedback"]["choose"] == "hardest"


def test_without_feedback_pictures_without_objects_stay_as_ever(monkeypatch):
    module = measuring(rules=Rules(most_per_class=1))
    module.feedback, module.instances = Feedback(), True
    found = decided(module, [picture("a-0", [1], [0.0]), picture("a-1", [1, 1], [0.3, 0.9])], monkeypatch)
    assert found["verdicts"] == [["unseen"], ["many", "kept"]]
    assert found["kept"] == [True, True]
    assert found["losses"] is None
    assert "copy" not in found["counts"]
    assert "feedback" not in module.settings()


def test_losses_need_a_detector_and_its_classes():
    with pytest.raises(UserError, match=r"--model\.instances=false, and no losses, --model\.feedback\.losses=false"):
        GeneratedPictureFilter(instances=False, feedback=Feedback(losses=True))
    module = measuring(class_aware=False)
    assert module._matched(["dog", "cat"], [0, 1]) == {0: 7, 1: 3}
    with pytest.raises(UserError, match=r"other classes .* and no losses, --model\.feedback\.losses=false"):
        module._matched(["dog", "owl"], [0, 1])


def test_a_detector_that_cannot_be_asked_for_losses_is_refused_at_once(tmp_path):
    trainer = quiet_trainer(tmp_path, [])
    trainer.strategy.connect(detector_module(RETINA, Detector))
    trainer.save_checkpoint(tmp_path / "one_stage.ckpt", weights_only=True)
    GeneratedPictureFilter(str(tmp_path / "one_stage.ckpt"))
    with pytest.raises(UserError, match="RetinaNet has no head for the boxes of proposals"):
        GeneratedPictureFilter(str(tmp_path / "one_stage.ckpt"), feedback=Feedback(losses=True))
