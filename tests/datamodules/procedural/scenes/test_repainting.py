import functools

import numpy as np
import pytest
import torch

from datamodules.procedural.scenes.crowds import Crowd, recognisable, render_crowd
from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.repainting import Faults, SceneInpainter, extents, fitted, without_objects
from datamodules.procedural.scenes.scenes import painted, sample_object, visible_boxes
from networks.inpainting import PictureLayout
from visionscapes.errors import UserError

SIZE = 128


@functools.cache
def layout(index=0, objects=(3, 6)):
    scene = render_crowd(7, index, SIZE, Crowd(objects))
    kept = recognisable(scene)
    names = tuple(CLASSES[label].name for label in scene.labels[kept])
    return PictureLayout(torch.from_numpy(scene.image).permute(2, 0, 1), torch.from_numpy(scene.boxes[kept]), names)


def inside(layout):
    found = torch.zeros(layout.image.shape[1:], dtype=torch.bool)
    for x1, y1, x2, y2 in layout.boxes.int().tolist():
        found[y1:y2, x1:x2] = True
    return found


def test_what_is_outside_of_the_boxes_stays():
    made = SceneInpainter().inpaint(layout(), 0)
    assert made.image.shape == layout().image.shape
    assert made.image.dtype == torch.uint8
    untouched = ~inside(layout())
    differing = (made.image != layout().image).any(0)
    # A pose that fills its box only nearly may leave it by a few pixels.
    assert differing[untouched].double().mean() < 0.03
    assert differing[~untouched].double().mean() > 0.95
    assert made.repainted.all()
    assert made.truth.verdicts == ("right",) * len(layout().names)
    assert not made.truth.low_quality
    assert len(made.truth.extra_boxes) == 0
    assert made.prompt.count("a ") >= len(layout().names)


def test_the_same_seed_gives_the_same_bytes_whatever_was_drawn_before():
    inpainter = SceneInpainter(Faults(wrong_class=0.3, missing=0.3, extra=2, low_quality=0.5))
    first = [inpainter.inpaint(layout(k), 5) for k in range(3)]
    torch.manual_seed(0)
    np.random.seed(0)
    again = [SceneInpainter(inpainter.faults).inpaint(layout(k), 5) for k in (2, 1, 0)][::-1]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.image, other.image)
        assert one.truth.verdicts == other.truth.verdicts
    assert not torch.equal(first[0].image, inpainter.inpaint(layout(0), 6).image)


@pytest.mark.parametrize("class_index", range(len(CLASSES)))
def test_an_object_fills_its_box(class_index):
    rng = np.random.default_rng(class_index)
    overlaps = []
    for width, height in ((40, 40), (60, 30), (30, 60)):
        box = np.array([20.0, 30.0, 20 + width, 30 + height])
        item = fitted(rng, class_index, box, SIZE)
        _, instances, _ = painted(np.zeros((SIZE, SIZE, 3)), (item,))
        overlaps.append(iou(visible_boxes(instances, 1)[0], box))
    assert min(overlaps) > 0.35
    assert np.mean(overlaps) > 0.6


def iou(one, other):
    size = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    both = size.prod()
    return both / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both)


def test_extents_are_those_of_the_painted_object():
    rng = np.random.default_rng(0)
    for class_index in range(len(CLASSES)):
        item = sample_object(rng, class_index, scale=(0.2, 0.2))
        item = type(item)(**{**vars(item), "centre": (0.5, 0.5)})
        _, instances, _ = painted(np.zeros((SIZE, SIZE, 3)), (item,))
        low, high = extents(item)
        expected = np.concatenate([low, high]) * 0.2 * SIZE + SIZE / 2
        np.testing.assert_allclose(visible_boxes(instances, 1)[0], expected, atol=2)


def test_faults_come_as_often_as_asked_for_and_are_known():
    inpainter = SceneInpainter(Faults(wrong_class=0.2, missing=0.3, extra=1.5, low_quality=0.25))
    made = [inpainter.inpaint(layout(k % 3, (3, 4)), k) for k in range(120)]
    verdicts = [each for one in made for each in one.truth.verdicts]
    for verdict, share in (("wrong class", 0.2), ("missing", 0.3), ("right", 0.5)):
        found = verdicts.count(verdict) / len(verdicts)
        assert abs(found - share) < 4 * (share * (1 - share) / len(verdicts)) ** 0.5, verdict
    extra = [len(one.truth.extra_boxes) for one in made]
    assert abs(np.mean(extra) - 1.5) < 4 * (1.5 / len(made)) ** 0.5
    assert all(len(one.truth.extra_names) == len(one.truth.extra_boxes) for one in made)
    low = np.mean([one.truth.low_quality for one in made])
    assert abs(low - 0.25) < 4 * (0.25 * 0.75 / len(made)) ** 0.5


def test_a_missing_object_is_not_there_and_an_extra_one_is():
    empty = SceneInpainter(Faults(missing=1.0)).inpaint(layout(), 0)
    blank = without_objects(layout().image.permute(1, 2, 0).numpy(), layout().boxes.numpy(), np.random.default_rng(1))
    difference = (empty.image.permute(1, 2, 0).numpy() / 255 - blank)[inside(layout()).numpy()]
    assert np.abs(difference).mean() < 0.06  # no more than its grain
    more = SceneInpainter(Faults(missing=1.0, extra=5)).inpaint(layout(), 0)
    for x1, y1, x2, y2 in more.truth.extra_boxes.int().tolist():
        part = np.s_[:, y1:y2, x1:x2]
        if (x2 - x1) * (y2 - y1) > 100:
            assert (more.image[part].double() - empty.image[part].double()).abs().mean() > 10


def test_low_quality_has_little_contrast():
    good, bad = (SceneInpainter(Faults(low_quality=share)).inpaint(layout(), 0).image for share in (0.0, 1.0))
    assert bad.double().std() < 0.75 * good.double().std()


@pytest.mark.parametrize(("height", "width"), [(60, 130), (130, 60), (31, 33)])
def test_any_shape_of_picture(height, width):
    image = torch.full((3, height, width), 90, dtype=torch.uint8)
    given = PictureLayout(image, torch.tensor([[5.0, 5.0, 25.0, 28.0]]), ("car",))
    made = SceneInpainter(Faults(extra=3)).inpaint(given, 0)
    assert made.image.shape == image.shape
    edge = torch.tensor([width, height, width, height])
    assert ((made.truth.extra_boxes >= 0) & (made.truth.extra_boxes <= edge)).all()


def test_a_box_over_the_whole_picture_has_nothing_around_it():
    image = torch.full((3, 40, 40), 90, dtype=torch.uint8)
    made = SceneInpainter().inpaint(PictureLayout(image, torch.tensor([[0.0, 0.0, 40.0, 40.0]]), ("fish",)), 0)
    assert made.image.double().std() > 10


def test_boxes_matter():
    assert not SceneInpainter().ignores_boxes(layout(), 0)
    assert SceneInpainter().ignores_boxes(PictureLayout(layout().image, layout().boxes[:0], ()), 0)


def test_unknown_classes_and_impossible_shares_are_refused():
    unknown = PictureLayout(layout().image, layout().boxes[:1], ("zebra",))
    with pytest.raises(UserError, match=r"no class 'zebra', but fish, car.*networks\.GLIGENInpainter"):
        SceneInpainter().inpaint(unknown, 0)
    with pytest.raises(UserError, match="more than 1 together"):
        SceneInpainter(Faults(wrong_class=0.6, missing=0.6))
