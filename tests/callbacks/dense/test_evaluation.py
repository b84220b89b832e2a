import csv

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import Metric

from callbacks import (
    Complexity,
    KeypointCorrespondence,
    ObjectDiscovery,
    PrincipalComponentPicture,
    ScaleInvariance,
    VideoPropagation,
)
from callbacks.dense.evaluation import DenseEvaluation, Precise, dense_features_of
from datamodules import SceneWorld
from lightning_modules import LiFT
from metrics.estimate import Estimate
from networks.vit_features import ViTFeatures
from tests.helpers.dense_case import Objects, Pooled, TinyModule, object_discovery_loaders, run_test
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


class Mean(Metric):
    """Mean of what it is given, with the number of it."""

    def __init__(self):
        super().__init__()
        self.add_state("sum", torch.zeros(()), "sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), "sum")

    def update(self, values):
        self.sum, self.count = self.sum + values.sum(), self.count + len(values)

    def compute(self):
        return {"mean": Estimate(self.sum / self.count, torch.tensor(0.5), self.count)}


class Blueness(DenseEvaluation):
    """Mean of the third channel of the features: a protocol as simple as can be."""

    task = "discovery"
    protocol = "blueness"

    def new_metric(self):
        return Mean()

    def image_size(self, batch):
        return batch["image"].shape[-1]

    def update(self, metrics, features, batch):
        assert not torch.is_grad_enabled()
        for layer, maps in features(batch["image"]).items():
            assert maps.dtype == torch.float32
            metrics(layer).update(maps[:, 2].mean((1, 2)))


class Broken(nn.Module):
    """Features of which one number is not finite, for images whose first pixel is bright."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, images):
        features = Pooled()(images)
        features[images[:, 0, 0, 0] > 0.5, 3, 2, 1] = self.value
        return features


class BrokenModule(TinyModule):
    def __init__(self, value=float("nan")):
        super().__init__()
        self.broken = Broken(value)

    def dense_features(self):
        return {"base": self.pooled, "broken": self.broken}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_no_numbers_are_an_error_that_names_them(tmp_path, value):
    images = torch.zeros(3, 3, 32, 32)
    images[1] = 1.0
    batch = {"task": "discovery", "image": images, "boxes": [torch.ones(1, 4)] * 3}
    protocols = [ObjectDiscovery(), ScaleInvariance(scales=[16, 32], batch_size=4), PrincipalComponentPicture()]
    pair = {f"{side}_image": images for side in ("source", "target")} | {"task": "keypoints"}
    pair |= {f"{side}_keypoints": torch.ones(3, 1, 2) for side in ("source", "target")}
    pair |= {"keypoint_valid": torch.ones(3, 1, dtype=torch.bool), "category": torch.zeros(3)}
    pair["target_box_size"] = torch.ones(3)
    video = {"task": "video", "frames": images, "masks": torch.zeros(3, 32, 32, dtype=torch.long), "name": "dog"}
    cases = [*((each, batch) for each in protocols), (KeypointCorrespondence(), pair), (VideoPropagation(), video)]
    for number, (callback, given) in enumerate(cases):
        loader = DataLoader([given] * 2, batch_size=None)
        with pytest.raises(UserError, match=r"features of 'broken' are infinite or not a number for . of . images"):
            run_test(tmp_path / str(number), [callback], loader, BrokenModule(value))
        assert not list((tmp_path / str(number)).rglob("results/*"))


def test_the_covered_grid_needs_features_that_say_where_their_cells_lie(tmp_path):
    """Which is told before anything is measured."""
    for callback in (ObjectDiscovery(grid="covered"), PrincipalComponentPicture(grid="covered")):
        with pytest.raises(UserError, match="'base', Pooled, does not say which pixels its cells cover"):
            callback.setup(quiet_trainer(tmp_path, []), TinyModule(), "fit")
    with pytest.raises(UserError, match="one of official, covered"):
        ObjectDiscovery(grid="stretched")


def test_features_are_those_offered_in_the_order_asked_for():
    module = TinyModule()
    assert list(dense_features_of(module)) == ["base", "bilinear", "useless"]
    assert list(dense_features_of(module, ["useless", "base"])) == ["useless", "base"]
    assert dense_features_of(module, ["base"])["base"] is module.pooled
    with pytest.raises(UserError, match=r"methods \['LiFT'\] are not offered by TinyModule; it has \['base', 'bil"):
        dense_features_of(module, ["base", "LiFT"])
    alone = Pooled()
    assert dense_features_of(alone) == {"features": alone}


@pytest.mark.parametrize("callback", [Blueness, Complexity, PrincipalComponentPicture])
def test_names_that_a_module_does_not_offer_are_told_before_anything_is_run(tmp_path, callback):
    with pytest.raises(UserError, match=r"methods \['nothing'\] are not offered by TinyModule"):
        callback(methods=["nothing"]).setup(quiet_trainer(tmp_path, []), TinyModule(), "fit")


def test_every_image_counts_once_for_each_method_and_size(tmp_path):
    callback = Blueness(["base", "bilinear"])
    other = DataLoader([{"task": "other", "image": torch.full((1, 3, 32, 32), 9.0)}], collate_fn=lambda batch: batch[0])
    loaders = {"other": other, **object_discovery_loaders(5, (32, 16))}
    trainer = run_test(tmp_path, [callback], loaders)
    rows = {(row.method, row.image_size): row for row in callback.results}
    assert rows.keys() == {(method, size) for method in ("base", "bilinear") for size in (32, 16)}
    for (method, size), row in rows.items():
        images = torch.stack([Objects(5, size)[index]["image"] for index in range(5)])
        assert (row.protocol, row.metric, row.count, row.standard_error) == ("blueness", "mean", 5, 0.5)
        if method == "base":
            assert row.value == pytest.approx(float(images[:, 2].mean() - 0.5), abs=1e-6)
        assert float(trainer.callback_metrics[f"blueness/mean/{method}@{size}"]) == pytest.approx(row.value)
    with (tmp_path / "results" / "blueness.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


def test_every_epoch_starts_anew_and_the_sanity_check_has_no_result(tmp_path):
    class Trained(TinyModule):
        def training_step(self, batch, batch_idx):
            return self.useless[1].weight.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

        def on_validation_end(self):
            seen.append((self.trainer.sanity_checking, [row.count for row in callback.results]))

    callback, seen = Blueness(["base"]), []
    trainer = quiet_trainer(tmp_path, [callback], num_sanity_val_steps=2)
    (loader,) = object_discovery_loaders(5).values()
    trainer.fit(Trained(), loader, [loader])
    assert seen == [(True, []), (False, [5])]
    trainer.validate(TinyModule(), [loader], verbose=False)
    assert [row.count for row in callback.results] == [5]


def test_a_protocol_without_a_batch_of_its_task_writes_nothing(tmp_path):
    other = DataLoader([{"task": "other"}], collate_fn=lambda batch: batch[0])
    callback = Blueness()
    run_test(tmp_path, [callback], {"other": other})
    assert callback.results == []
    assert not (tmp_path / "results").exists()


def test_features_are_computed_in_the_precision_of_the_trainer_and_handed_on_in_float32(tmp_path):
    seen = []

    class Watched(nn.Linear):
        def forward(self, images):
            found = super().forward(images)
            seen.append(found.dtype)
            return found

    trainer = quiet_trainer(tmp_path, [], precision="bf16-mixed")
    found = Precise(Watched(4, 2), trainer)(torch.rand(1, 3, 4, 4))
    assert seen == [torch.bfloat16]
    assert {layer: maps.dtype for layer, maps in found.items()} == {"": torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "stride"), [(28, 8), (64, 4)])
def test_on_scenes_what_is_found_lies_better_where_cells_are(tmp_path, size, stride):
    """With the features of the embedded world: 24 of 28 pixels, and all but two at every side of 64, are in cells."""
    backbone = ViTFeatures(
        "vit_tiny_patch16_224",
        "weights/dense_contrastive.safetensors",
        layer=2,
        stride=stride,
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        model_args={"patch_size": 8, "img_size": 64, "embed_dim": 128, "depth": 4, "num_heads": 4},
    )
    figures = {}
    for grid in ("official", "covered"):
        protocols = [ObjectDiscovery(["base"], tau=0.4, grid=grid), VideoPropagation(["base"], grid=grid)]
        data = SceneWorld(image_sizes=[size], tasks=["discovery", "video"], videos=12)
        quiet_trainer(tmp_path / grid, protocols).test(LiFT(backbone), datamodule=data, verbose=False)
        figures[grid] = {row.metric: row.value for protocol in protocols for row in protocol.results}
    for metric in ("CorLoc", "J&F"):
        assert figures["covered"][metric] > figures["official"][metric]
