import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.common.inspection.batches import (
    Entry,
    LoaderFigures,
    digests,
    entries,
    findings_of_loader,
    loaders_of,
    look_at_batches,
)
from visionscapes.errors import UserError


@dataclass
class Views:
    images: list
    boxes: torch.Tensor


class Place(NamedTuple):
    x: int
    y: torch.Tensor


def test_batches_of_every_form_are_taken_apart():
    batch = {
        "task": "x",
        "views": Views([torch.zeros(2, 3), torch.zeros(4, 3)], torch.ones(1)),
        "place": Place(1, torch.zeros(2)),
        "names": ["a", "b"],
        "truth": [{"boxes": torch.zeros(1, 4)}, {"boxes": torch.zeros(3, 4)}],
    }
    keys = [key for key, _ in entries(batch)]
    assert (
        keys
        == ["task", "views.images[]", "views.images[]", "views.boxes", "place.x", "place.y", "names"]
        + ["truth[].boxes"] * 2
    )
    assert [key for key, _ in entries(torch.zeros(1))] == ["batch"]


def test_shapes_ranges_and_what_is_not_finite_are_kept_over_batches():
    loader = [
        {"image": torch.tensor([[0.0, 0.5]]), "size": np.array([3]), "name": ["a"]},
        {"image": torch.tensor([[1.0, float("nan")], [0.25, float("inf")]]), "size": np.array([9]), "name": ["b", "c"]},
    ]
    figures = look_at_batches(loader, 5)
    image = figures.entries["image"]
    assert (image.kind, image.shape(), image.least, image.most) == ("float32", "1-2 x 2", 0.0, 1.0)
    assert (image.nans, image.count) == (2, 6)
    assert (figures.entries["size"].least, figures.entries["size"].most) == (3, 9)
    assert (figures.entries["name"].kind, figures.entries["name"].shape()) == ("list of str", "1-2")
    assert (figures.batches, figures.samples, figures.looked_at) == (2, None, 2)


def test_shapes_of_different_length_are_named_beside_each_other():
    assert Entry("x", [(2, 3), (4, 3), (5,), ()]).shape() == "one or 5 or 2-4 x 3"


def test_no_more_batches_are_loaded_than_asked_for_and_time_is_that_of_loading():
    class Slow(list):
        def __iter__(self):
            for each in range(5):
                assert each < 2, "the third is not asked for"
                time.sleep(0.05)
                yield {"x": torch.zeros(1)}

    figures = look_at_batches(Slow(), 2)
    assert figures.looked_at == 2
    assert 0.05 <= figures.seconds < 1
    assert 0.05 <= figures.first_seconds < 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("error", "said"), [(UserError("x.jpg is broken"), "x.jpg is broken"), (KeyError("a"), "'a'")])
def test_whatever_ends_a_loader_is_written_down(workers, error, said):
    loader = DataLoader(Broken(error), batch_size=2, num_workers=workers)
    figures = look_at_batches(loader, 3)
    assert said in figures.fault
    assert figures.looked_at == 1
    (finding,) = findings_of_loader("train", figures)
    assert finding.level == "error"
    assert finding.text.startswith("batch 2 cannot be loaded: ")


class Broken(torch.utils.data.Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 3:
            raise self.error
        return {"x": torch.zeros(1) + index}


def figures_of(**entries):
    return LoaderFigures(looked_at=1, entries=entries)


@pytest.mark.parametrize(
    ("name", "entry", "found"),
    [
        ("image", Entry("float32", [(1,)], 0, 1, 0, 900), []),
        ("image", Entry("float32", [(1,)], 0, 255, 0, 900), ["image goes from 0 to 255, and pictures from 0 to 1"]),
        ("image", Entry("uint8", [(1,)], 0, 255, 0, 900), []),
        ("image", Entry("float32", [(1,)], 0.5, 0.5, 0, 900), ["all numbers of image are 0.5"]),
        ("labels", Entry("int64", [(1,)], 5, 5, 0, 900), []),
        ("frame_mel", Entry("float32", [(1,)], -4, 4, 0, 900), []),
        ("mel", Entry("float32", [(1,)], -4, 4, 1, 900), ["1 of 900 numbers of mel are not finite"]),
    ],
)
def test_what_is_odd_in_batches(name, entry, found):
    assert [finding.text for finding in findings_of_loader("train", figures_of(**{name: entry}))] == found


def test_numbers_that_are_not_finite_are_worse_in_what_a_network_sees():
    odd = Entry("float32", [(1,)], 0, 1, 3, 9)
    (seen,), (other,) = (findings_of_loader("train", figures_of(**{key: odd})) for key in ("image", "landmarks"))
    assert (seen.level, other.level) == ("error", "warning")


def test_nothing_to_train_on_is_an_error_and_nothing_to_validate_is_not():
    (trained,), (validated,) = (list(findings_of_loader(name, LoaderFigures())) for name in ("train", "val"))
    assert (trained.level, validated.level) == ("error", "warning")


def test_loaders_come_alone_in_lists_and_by_name():
    assert loaders_of("a", "train") == {"train": "a"}
    assert loaders_of(["a"], "val") == {"val": "a"}
    assert loaders_of(["a", "b"], "val") == {"val 1": "a", "val 2": "b"}
    assert loaders_of({"images@64": "a"}, "val") == {"val images@64": "a"}
    assert loaders_of([], "val") == loaders_of(None, "val") == {}


def test_pictures_are_told_apart_one_by_one():
    images = torch.rand(3, 3, 4, 4)
    assert len(set(digests({"image": images}))) == 3
    assert len(set(digests({"image": torch.cat([images, images[:1]])}))) == 3
    assert digests({"faces": images}) == digests([images]) == []
