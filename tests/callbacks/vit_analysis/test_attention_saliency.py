import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from callbacks.vit_analysis.attention_analysis import AttentionAnalysis
from callbacks.vit_analysis.attention_saliency import AttentionSaliency
from networks.vit_layers import BlockView, Layered, LayeredViT
from tests.callbacks.vit_analysis.feature_helpers import SIZE, Batches, analyse, batches, noise, show, tiny_vit
from tests.callbacks.vit_analysis.test_attention_analysis import attention_of, pictures, sharp, with_registers
from visionscapes.errors import UserError

GRID = (4, 4)


def rectangles(count: int, side: int) -> Tensor:
    """Return masks with one rectangle each; the fourth is empty."""
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for index, mask in enumerate(masks):
        top, left = torch.randint(0, side // 2, (2,), generator=generator).tolist()
        mask[top : top + side // 3, left : left + side // 2] = index != 3
    return masks


def tasks(images: Tensor, masks: Tensor, size: int = 4, dataset: str = "scenes") -> Batches:
    return {"saliency": [b | {"dataset": dataset} for b in batches("saliency", size, image=images, mask=masks)]}


def reference_iou(attention: np.ndarray, mask: np.ndarray, prefix: int) -> dict[str, list[float]]:
    """Do what the official code does for one image and layer: attention (H, P + N, P + N), mask (S, S)."""
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(GRID[::-1], Image.Resampling.BICUBIC)
    truth = (np.array(small) > 0).ravel()
    found: dict[str, list[float]] = {"cls": [], "spatial": []}
    for head in attention.astype(np.float64):
        for source, weights in (("cls", head[0, prefix:]), ("spatial", head[prefix:, prefix:].mean(0))):
            weights = weights / weights.sum()
            order = np.argsort(weights)
            kept = np.zeros(len(weights), dtype=bool)
            total = 0.0
            for token in order:
                total += weights[token]
                kept[token] = total > 0.4
            found[source].append((kept & truth).sum() / (kept | truth).sum())
    return found


@pytest.mark.parametrize(("build", "side"), [(lambda: sharp(tiny_vit()), 16), (with_registers, 56)])
def test_arrays_equal_the_official_way(build: Any, side: int) -> None:
    vit: LayeredViT = build()
    images, masks = pictures(6, side), rectangles(6, side)
    found = show(AttentionSaliency(), vit, tasks(images, masks)).compute()
    assert (found["scenes/images"], found["scenes/empty"]) == (5, 1)
    for layer, attention in enumerate(attention_of(vit, images)):
        rows = [reference_iou(attention[index].numpy(), masks[index].numpy(), vit.prefix) for index in (0, 1, 2, 4, 5)]
        for source in ("cls", "spatial"):
            iou = np.array([row[source] for row in rows])
            assert found[f"scenes/{source}_head"][layer].tolist() == pytest.approx(iou.mean(0).tolist(), abs=1e-6)
            assert float(found[f"scenes/{source}_best"][layer]) == pytest.approx(iou.max(1).mean(), abs=1e-6)


class Looking(Layered):
    """A ViT of one layer whose heads look at given tokens: the first of an image at the object, the second away."""

    prefix = 2

    def __init__(self, maps: Tensor):
        super().__init__(1, maps.shape[0], 8, 4, SIZE, None)
        self.maps = maps  # (H, N)

    def _pass(self, images: Tensor, observers: Any, attention: bool = False) -> None:
        rows = torch.zeros(len(images), len(self.maps), 18, 18)
        rows[:, :, 0, 2:] = self.maps
        rows[:, :, 2:, 2:] = self.maps.flip(0)[:, None]
        rows[:, :, 2:, 0] = 7.0  # on the class token, which must not matter
        for observe in observers:
            observe(BlockView(0, torch.zeros(len(images), 18, 8), rows, {}, 2, GRID))


def test_best_head_of_every_image_and_of_the_layer() -> None:
    """Two heads, each right about half of the images: the best of every image is perfect, no head is."""
    top = torch.zeros(16)
    top[:8] = 1 / 8
    vit = Looking(torch.stack([top, top.flip(0)]))
    masks = torch.zeros(4, SIZE, SIZE, dtype=torch.bool)
    masks[:3, :8] = True
    masks[3, 8:] = True
    callback = AttentionSaliency(share=1)
    found = show(callback, vit, tasks(pictures(4), masks)).compute()
    # Bicubic resizing spreads a mask by a token: 8 of 12.
    right, wrong = 8 / 12, 4 / 16
    assert found["scenes/cls_best"].tolist() == pytest.approx([right])
    heads = [(3 * right + wrong) / 4, (right + 3 * wrong) / 4]
    assert found["scenes/cls_head"][0].tolist() == pytest.approx(heads)
    assert found["scenes/spatial_head"][0].tolist() == pytest.approx(heads[::-1])
    figures = callback.figures(found)
    assert {name: values.tolist() for name, values in figures.items()} == {
        "scenes CLS IoU": pytest.approx([right]),
        "scenes CLS IoU best head": pytest.approx([heads[0]]),
        "scenes spatial IoU": pytest.approx([right]),
        "scenes spatial IoU best head": pytest.approx([heads[0]]),
    }


@pytest.mark.parametrize("size", [1, 3, 6])
def test_batches_and_their_order_do_not_matter(size: int) -> None:
    vit, images, masks = sharp(tiny_vit()), pictures(6), rectangles(6, SIZE)
    whole = show(AttentionSaliency(), vit, tasks(images, masks, 6)).compute()
    for order in (range(6), (4, 2, 5, 0, 1, 3)):
        other = show(AttentionSaliency(), vit, tasks(images[list(order)], masks[list(order)], size)).compute()
        assert other.keys() == whole.keys()
        for name, values in other.items():
            np.testing.assert_allclose(values, whole[name], rtol=1e-5)


def test_data_sets_are_kept_apart() -> None:
    vit, images, masks = sharp(tiny_vit()), pictures(6), rectangles(6, SIZE)
    first = tasks(images[:3], masks[:3], 2, "COCO")["saliency"]
    second = tasks(images[3:], masks[3:], 2, "PartImageNet")["saliency"]
    both = show(AttentionSaliency(), vit, {"saliency": [second[0], *first, *second[1:]]}).compute()
    assert (both["COCO/images"], both["PartImageNet/images"], both["PartImageNet/empty"]) == (3, 2, 1)
    alone = show(AttentionSaliency(), vit, {"saliency": first}).compute()
    assert np.array_equal(both["COCO/cls_head"], alone["COCO/cls_head"])


def test_masks_without_any_object_are_refused() -> None:
    state = show(AttentionSaliency(), tiny_vit(), tasks(pictures(2), torch.zeros(2, SIZE, SIZE, dtype=torch.bool)))
    with pytest.raises(UserError, match=r"none of 2 images of 'scenes'.*annotation files"):
        state.compute()
    for share in (0, 1.2):
        with pytest.raises(UserError, match=r"share is .*above 0 and at most 1"):
            AttentionSaliency(share=share)


def test_runs_beside_the_other_analysis_and_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vit, images, masks = sharp(tiny_vit()), pictures(5), rectangles(5, SIZE)
    both = tasks(images, masks, 2) | {"images": batches("images", 2, image=images)}
    analyse(tmp_path / "1", [AttentionAnalysis(), AttentionSaliency()], both, {"FS": vit, "Random": noise()})
    with np.load(tmp_path / "1" / "arrays" / "FS" / "saliency.npz") as file:
        stored = dict(file)
    assert sorted(p.name for p in (tmp_path / "1" / "arrays" / "FS").iterdir()) == ["attention.npz", "saliency.npz"]
    assert int(stored["scenes/images"]) == 4
    text = (tmp_path / "1" / "results" / "saliency.csv").read_text()
    rows = {row["metric"]: float(row["value"]) for row in csv.DictReader(text.splitlines())}
    assert rows["scenes CLS IoU"] == pytest.approx(stored["scenes/cls_best"].max())
    assert rows["scenes spatial IoU best head @2"] == pytest.approx(stored["scenes/spatial_head"][1].max())

    monkeypatch.setattr(AttentionSaliency, "observer", lambda *_: pytest.fail("measured a second time"))
    analyse(tmp_path / "2", [AttentionSaliency()], both, {"FS": vit, "Random": noise()})
    assert (tmp_path / "2" / "results" / "saliency.csv").read_text() == text
