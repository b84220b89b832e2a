from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.vit_analysis.feature_clustering import FeatureClustering, masked_means
from metrics.clustering import clustering_scores
from tests.callbacks.vit_analysis.feature_helpers import (
    DEPTH,
    SIZE,
    Batches,
    Written,
    analyse,
    batches,
    noise,
    numbered,
    pictures,
    show,
    tiny_vit,
    tokens_of,
)
from visionscapes.errors import UserError


class Painted(Written):
    """Dense features that are the mean colour of each cell in layer 1, and constant in layer 2."""

    def __init__(self) -> None:
        super().__init__([torch.zeros(1, 3)] * 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = torch.nn.functional.avg_pool2d(images, 4)
        return {"1": maps, "2": torch.ones_like(maps)}


def region_batch(task: str, colours: list[tuple[int, int]], **more: Any) -> dict[str, Any]:
    """A picture of stripes, each a region: (label, where in the picture) with the colour given by the label."""
    image, masks = torch.zeros(1, 3, 32, 48), torch.zeros(len(colours), 32, 48, dtype=torch.bool)
    for number, (label, place) in enumerate(colours):
        image[:, label, :, 8 * place : 8 * place + 8] = 1
        masks[number, :, 8 * place : 8 * place + 8] = True
    return {"task": task, "image": image, "masks": masks, "label": torch.tensor([label for label, _ in colours])} | more


def test_mean_over_a_mask_by_hand() -> None:
    features = torch.arange(6.0).view(1, 2, 3)
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, :2, :2] = True  # cell 0 alone
    masks[1, 2:, 3:] = True  # half of cell 4, all of cell 5
    masks[2] = True
    means = masked_means(features, masks)
    assert means.shape == (3, 1)
    assert means[:, 0].tolist() == pytest.approx([0, (0.5 * 4 + 5) / 1.5, 2.5])


def test_mean_over_a_mask_on_a_grid_that_does_not_divide_it() -> None:
    masks = torch.zeros(1, 35, 50, dtype=torch.bool)
    masks[0, 17, 31] = True  # one pixel, on the border of rows 2 and 3 and of columns 4 and 5
    means = masked_means(torch.arange(48.0).view(1, 6, 8), masks)
    assert float(means) == pytest.approx((20 + 21 + 28 + 29) / 4)
    assert masked_means(torch.ones(2, 6, 8), masks).tolist() == [[1, 1]]


def test_mean_over_a_mask_is_in_full_precision() -> None:
    features, masks = torch.full((1, 2, 2), 1000.125), torch.ones(1, 8, 8, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        assert masked_means(features, masks).tolist() == [[1000.125]]


def test_image_level_takes_class_token_and_mean_of_the_spatial_ones() -> None:
    images, labels = pictures(20), torch.arange(20) % 4
    tasks = {"images": batches("images", 6, image=images, label=labels, index=torch.arange(20))}
    vit = tiny_vit()
    arrays = show(FeatureClustering(seed=3), vit, tasks).compute()
    for key, pick in (("image_cls", lambda view: view.cls), ("image_spatial", lambda view: view.patches.mean(1))):
        features = [one.numpy() for one in tokens_of(vit, images, pick)]
        expected = clustering_scores(features, labels.numpy(), 4, seed=3)
        np.testing.assert_allclose(arrays[key], expected, atol=1e-6)
        assert int(arrays[f"{key}_count"]) == 20
    assert set(arrays) == {"image_cls", "image_cls_count", "image_spatial", "image_spatial_count"}


def test_regions_are_clustered_by_what_their_masks_show() -> None:
    pictured = [[(0, 0), (1, 4)], [(2, 2)], [(1, 1), (2, 3), (0, 5)], [(2, 0), (0, 3)]]
    tasks: Batches = {task: [region_batch(task, colours) for colours in pictured] for task in ("objects", "parts")}
    arrays = show(FeatureClustering(), Painted(), tasks).compute()
    for key in ("object", "part"):
        assert arrays[key].tolist() == [[1, 1, 1], [pytest.approx(3 / 8), 0, 0]]
        assert int(arrays[f"{key}_count"]) == 8
        assert int(arrays[f"{key}_skipped"]) == 0
    assert "image_cls" not in arrays
    assert list(FeatureClustering().figures(arrays)) == [
        f"{level} {score}" for level in ("object", "part") for score in ("purity", "NMI", "ARI")
    ]


def test_empty_masks_and_unlabelled_samples_are_left_out() -> None:
    batch = region_batch("objects", [(0, 0), (1, 2), (2, 4)])
    batch["masks"][1] = False
    batch["label"][2] = -1
    hidden = region_batch("objects", [(1, 0)])
    hidden["masks"][:] = False
    arrays = show(FeatureClustering(), Painted(), {"objects": [batch, hidden]}).compute()
    assert (int(arrays["object_count"]), int(arrays["object_skipped"])) == (1, 2)
    assert arrays["object"].tolist() == [[1, 1, 1], [1, 1, 1]]
    nothing = {"images": batches("images", 2, image=pictures(4), label=torch.full((4,), -1), index=torch.arange(4))}
    assert show(FeatureClustering(), tiny_vit(), nothing).compute() == {}


def test_number_of_clusters_is_an_option() -> None:
    labels = torch.tensor([0] * 9 + [1])  # a class with a single image
    features = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    tasks = {"images": batches("images", 4, image=numbered(torch.arange(10)), label=labels, index=torch.arange(10))}
    vit = Written([features])
    assert show(FeatureClustering(clusters=10), vit, tasks).compute()["image_cls"][0, 0] == 1
    assert show(FeatureClustering(clusters=1), vit, tasks).compute()["image_cls"][0, 0] == pytest.approx(0.9)
    assert show(FeatureClustering(), vit, tasks).compute()["image_cls"][0, 0] < 1
    with pytest.raises(UserError, match=r"clusters=11 .* more than the 10 labelled samples"):
        show(FeatureClustering(clusters=11), vit, tasks).compute()
    with pytest.raises(UserError, match="part_clusters is 0"):
        FeatureClustering(part_clusters=0)


def test_order_does_not_matter() -> None:
    images, labels = pictures(20), torch.arange(20) % 4
    own = batches("images", 5, image=images, label=labels, index=torch.arange(20))
    pictured = [[(0, 0), (1, 4)], [(2, 2)], [(1, 1), (2, 3)]]
    parts = [region_batch("parts", colours, index=torch.tensor([i])) for i, colours in enumerate(pictured)]
    callback, vit = FeatureClustering(), tiny_vit()
    expected = show(callback, vit, {"images": own, "parts": parts}).compute()
    again = show(callback, vit, {"parts": parts[::-1], "images": own[::-1]})
    found = again.compute()
    assert again.raw("parts", "index")[0] > again.raw("parts", "index")[-1]
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_a_run_writes_arrays_and_figures(tmp_path: Path) -> None:
    tasks = {"images": batches("images", 5, image=pictures(12), label=torch.arange(12) % 3, index=torch.arange(12))}
    for task in ("objects", "parts"):
        tasks[task] = [region_batch(task, [(i % 3, i % 4), ((i + 1) % 3, 5)]) for i in range(4)]
    callback = FeatureClustering()
    vit = tiny_vit()
    assert min(tasks["parts"][0]["image"].shape[-2:]) == 2 * SIZE
    analyse(tmp_path, [callback], tasks, {"tiny": vit, "Random": noise()})
    for name, depth in (("tiny", DEPTH), ("Random", 1)):
        with np.load(tmp_path / "arrays" / name / "clustering.npz") as arrays:
            for key in ("image_cls", "image_spatial", "object", "part"):
                assert arrays[key].shape == (depth, 3)
                assert (arrays[key][:, 0] >= 1 / 3).all()
    metrics = {row.metric for row in callback.results}
    assert {"image CLS purity", "image CLS NMI layer", "image spatial ARI", "object purity @1", "part NMI"} <= metrics
    assert (tmp_path / "results" / "clustering.csv").is_file()
