import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.dense.keypoint_correspondence import KeypointCorrespondence
from networks.cells import Cells as Patches
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

SIZE, KEYPOINTS = 24, 6


class Cells(nn.Module):
    """Dense features: the raw pixels of each cell."""

    def __init__(self, patch: int = 1, noise: float = 0.0):
        super().__init__()
        self.patch, self.noise = patch, noise

    def forward(self, images: Tensor) -> Tensor:
        cells = nn.functional.pixel_unshuffle(images - 0.5, self.patch)
        return cells + self.noise * torch.randn_like(cells)


class Features(LightningModule):
    """Offers dense features that are perfect, coarse and useless."""

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None: ...

    validation_step = test_step

    def dense_features(self) -> dict[str, nn.Module]:
        return {"perfect": Cells(), "coarse": Cells(2), "useless": Cells(noise=1e4)}


def pair(seed: int, size: int = SIZE) -> dict[str, Any]:
    """Return an image and the same moved by whole cells; the last keypoint is not valid and wrong."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.rand(3, size, size, generator=generator)
    shift = 2 * torch.randint(-2, 3, (2,), generator=generator)
    keypoints = torch.randint(4, size - 4, (KEYPOINTS, 2), generator=generator)
    moved = keypoints + shift
    moved[-1] = torch.tensor([0, 0])
    return {
        "task": "keypoints",
        "source_image": source,
        "target_image": source.roll((int(shift[1]), int(shift[0])), (1, 2)),
        "source_keypoints": keypoints.float(),
        "target_keypoints": moved.float(),
        "keypoint_valid": torch.arange(KEYPOINTS) < KEYPOINTS - 1,
        "target_box_size": torch.tensor(10.0),
        "category": torch.tensor(seed % 3),
        "pair": str(seed),
    }


def collate(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    tensors = {k: torch.stack([p[k] for p in pairs]) for k, v in pairs[0].items() if isinstance(v, Tensor)}
    return {"task": "keypoints", "pair": [p["pair"] for p in pairs], **tensors}


def loaders(*sizes: int, batch_size: int = 3) -> dict[str, DataLoader]:
    """Return seven pairs for each size, and batches of another task."""
    keypoints = {
        f"keypoints@{size}": DataLoader([pair(k, size) for k in range(7)], batch_size, collate_fn=collate)
        for size in sizes
    }
    other = DataLoader([{"task": "images", "image": torch.rand(3, 8, 8)}], collate_fn=lambda batch: batch[0])
    return {"images@8": other, **keypoints}


def evaluate(root: Path, callback: KeypointCorrespondence, *sizes: int) -> dict[tuple[str, str, int], float]:
    trainer = quiet_trainer(root, [callback])
    trainer.test(Features(), loaders(*sizes), verbose=False)
    return {(row.metric, row.method, row.image_size): row.value for row in callback.results}


def test_perfect_features_find_every_keypoint(tmp_path: Path) -> None:
    callback = KeypointCorrespondence()
    values = evaluate(tmp_path, callback, SIZE, 2 * SIZE)
    for size in (SIZE, 2 * SIZE):
        for alpha in ("0.1", "0.05", "0.01"):
            assert values[f"PCK@{alpha} (normalised)", "perfect", size] == 1
        assert values["PCK@0.1 (normalised)", "coarse", size] == 1
        assert values["PCK@0.1", "useless", size] < 0.3
    # Without normalisation the length of a pixel's colour decides too.
    assert values["PCK@0.01", "coarse", SIZE] < values["PCK@0.01 (normalised)", "coarse", SIZE]
    assert all(row.count == 7 and row.protocol == "keypoints" for row in callback.results)


def test_results_are_logged_and_written(tmp_path: Path) -> None:
    callback = KeypointCorrespondence(methods=["coarse"], alphas=[0.1], matching=["normalised"])
    evaluate(tmp_path, callback, SIZE)
    with (tmp_path / "results" / "keypoints.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["metric"], row["method"], row["image_size"]) == ("PCK@0.1 (normalised)", "coarse", str(SIZE))
    assert float(row["value"]) == 1


@pytest.mark.parametrize("cut", [(slice(None), slice(0, SIZE // 2)), (slice(0, SIZE // 2), slice(None))])
def test_images_need_not_be_square(cut: tuple[slice, slice]) -> None:
    batch = collate([pair(k) for k in range(4)])
    for side in ("source", "target"):
        batch[f"{side}_image"] = batch[f"{side}_image"][:, :, *cut]
        x, y = batch[f"{side}_keypoints"].unbind(2)
        height, width = batch[f"{side}_image"].shape[2:]
        batch["keypoint_valid"] &= (x < width) & (y < height)
    assert batch["keypoint_valid"].any()
    callback = KeypointCorrespondence(alphas=[0.1], matching=["normalised"])
    metric = callback.new_metric()
    callback.update(lambda layer: metric, lambda images: {"": Cells()(images)}, batch)
    assert metric.compute()["PCK@0.1 (normalised)"].value == 1


def test_validity_and_reference_length(tmp_path: Path) -> None:
    batch = collate([pair(0), pair(1)])
    callback = KeypointCorrespondence(alphas=[0.5], matching=["normalised"])

    def figure(callback: KeypointCorrespondence, batch: dict[str, Any]) -> tuple[float, int]:
        metric = callback.new_metric()
        callback.update(lambda layer: metric, lambda images: {"": Cells()(images)}, batch)
        value, _, count = metric.compute()["PCK@0.5 (normalised)"]
        return float(value), count

    assert figure(callback, batch) == (1.0, 2)
    batch["keypoint_valid"][0] = False
    assert figure(callback, batch) == (1.0, 1)  # a pair without keypoints is left out
    batch["target_keypoints"] = batch["target_keypoints"] + torch.tensor([8.0, 0.0])
    assert figure(callback, batch) == (0.0, 1)  # 8 pixels are more than half of the box
    by_image = KeypointCorrespondence(alphas=[0.5], matching=["normalised"], reference="image")
    assert figure(by_image, batch) == (1.0, 1)  # and less than half of the image


@pytest.mark.parametrize(
    "options",
    [{"matching": ["cosine"]}, {"matching": []}, {"aggregation": "image"}, {"comparison": ">"}, {"reference": "mask"}],
)
def test_unknown_choices_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        KeypointCorrespondence(**options)


def test_images_of_a_pair_may_differ_in_size(tmp_path: Path) -> None:
    """The target cut off behind the last keypoint; a pair without a keypoint among them is left out."""
    batch = collate([pair(k) for k in range(4)])
    batch["keypoint_valid"] &= batch["target_keypoints"].amax(2) < SIZE - 4
    batch["keypoint_valid"][0] = False
    batch["target_image"] = batch["target_image"][:, :, : SIZE - 4, : SIZE - 2]
    callback = KeypointCorrespondence(alphas=[0.1], matching=["normalised"])
    metric = callback.new_metric()
    callback.update(lambda layer: metric, lambda images: {"": Cells()(images)}, batch)
    estimate = metric.compute()["PCK@0.1 (normalised)"]
    assert (estimate.value, estimate.count) == (1, 3)


class Quarters(nn.Module):
    """Dense features: the raw pixels of each whole cell of four."""

    def forward(self, images: Tensor) -> Tensor:
        h, w = (side // 4 * 4 for side in images.shape[-2:])
        return nn.functional.pixel_unshuffle(images[..., :h, :w] - 0.5, 4)

    def cells(self) -> Patches:
        return Patches(0, 4)


class UnevenFeatures(Features):
    def dense_features(self) -> dict[str, nn.Module]:
        return {"quarters": Quarters()}


@pytest.mark.parametrize(("grid", "value"), [("official", 0), ("covered", 1)])
def test_a_target_with_pixels_that_no_cell_covers(tmp_path: Path, grid: Any, value: float) -> None:
    """Beside the target's 24 pixels are three more that are in no cell."""
    batch = collate([pair(k) for k in range(5)])
    batch["target_image"], batch["target_keypoints"] = batch["source_image"].clone(), batch["source_keypoints"].clone()
    marked = torch.tensor([[14.0, 14.0], [18.0, 18.0], [6.0, 18.0]])  # centres of cells of four
    batch |= {f"{side}_keypoints": marked.expand(5, -1, -1) for side in ("source", "target")}
    batch["keypoint_valid"] = torch.ones(5, 3, dtype=torch.bool)
    batch["target_image"] = nn.functional.pad(batch["target_image"], (0, 3, 0, 3), mode="replicate")
    callback = KeypointCorrespondence(alphas=[0.1], matching=["normalised"], grid=grid)
    trainer = quiet_trainer(tmp_path, [callback])
    trainer.test(UnevenFeatures(), DataLoader([batch], batch_size=None), verbose=False)
    (row,) = callback.results
    assert row.value == value
