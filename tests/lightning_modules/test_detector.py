import math

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback
from safetensors.torch import save_file

from datamodules import SecondView
from datamodules.detection.prediction import batch_of
from lightning_modules import Detector
from lightning_modules.detector import summed
from tests.helpers.image_files import pixels
from tests.helpers.small_detectors import C4, CASCADE, FCOS, FPN, MASKS, ONE, RETINA, SMALL, TWO
from tests.lightning_modules.sparsedet.cases import Batches, batch, gradients, module, trainer
from visionscapes.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
    pytest.mark.filterwarnings("ignore:.*meshgrid"),
]
QUICK = {"limit_val_batches": 0, "enable_checkpointing": False}
EVERY = [FPN, C4, MASKS, CASCADE, FCOS, RETINA]


def pictures(config, *rows):
    return batch(*rows, masks=config == MASKS)


@pytest.mark.parametrize("config", EVERY)
def test_loss_is_what_mmdet_adds_up(config):
    found = module("Detector", config)
    sparse = pictures(config, ONE, TWO)
    torch.manual_seed(3)
    losses = found.losses(sparse)
    torch.manual_seed(3)
    total, logged = found.detector.parse_losses(found.detector.loss(*found.inputs(sparse, training=True)))
    torch.testing.assert_close(found.total(losses, sparse), total)
    for name, value in losses.items():
        torch.testing.assert_close(value, logged[name])


def test_lists_over_levels_are_summed():
    losses = summed({"loss_cls": [torch.tensor(1.0), torch.tensor(2.0)], "acc": torch.tensor([4.0])})
    assert {name: value.item() for name, value in losses.items()} == {"loss_cls": 3, "acc": 4}


def test_figures_are_no_losses():
    losses = {"loss_a": torch.tensor(1.0), "acc": torch.tensor(50.0), "mined": torch.tensor(7.0)}
    assert module("Detector").total(losses, {"image": [None]}) == 1


@pytest.mark.parametrize("config", EVERY)
@pytest.mark.parametrize("rows", [(ONE, []), ([], [])])
def test_every_parameter_has_a_gradient(config, rows):
    """Of pictures without annotation too, or DDP waits for ever."""
    found = module("Detector", config)
    losses = found.losses(pictures(config, *rows))
    assert all(value.isfinite() for value in losses.values())
    gradients(found, losses)


@pytest.mark.parametrize("config", EVERY)
def test_predictions(config):
    found = module("Detector", config).eval()
    if config in (FCOS, RETINA):  # nothing of an untrained detector reaches their least score
        found.detector.test_cfg.score_thr = found.detector.bbox_head.test_cfg.score_thr = 0.0
    sparse = pictures(config, ONE, TWO)
    sparse["size"] = [torch.tensor([128, 64])] * 2  # height was halved
    with torch.no_grad():
        predictions = found.predict_step(sparse, 0)
    assert len(predictions) == 2
    for each in predictions:
        count = len(each["scores"])
        assert count > 0
        assert each["boxes"].shape == (count, 4)
        assert (each["boxes"].dtype, each["scores"].dtype, each["labels"].dtype) == (
            *(torch.float32, torch.float32),
            torch.int64,
        )
        assert each["scores"].equal(each["scores"].sort(descending=True).values)
        assert each["boxes"][:, 2].max() <= 64 < each["boxes"][:, 3].max() <= 128
        assert ((each["labels"] >= 0) & (each["labels"] < found.num_classes)).all()
        if config == MASKS:
            assert [mask["size"] for mask in each["masks"]] == [[128, 64]] * count
        else:
            assert "masks" not in each


def test_validation_and_test_return_predictions():
    found = module("Detector").eval()
    expected = found.predict_step(batch(ONE), 0)
    for step in (found.validation_step, found.test_step):
        torch.testing.assert_close(step(batch(ONE), 0), expected)


@pytest.mark.parametrize("config", [FPN, C4, MASKS, CASCADE])
def test_proposals_of_two_stages(config):
    found = module("Detector", config).eval()
    with torch.no_grad():
        for each in found.proposals(batch(ONE, TWO)):
            assert each["boxes"].shape == (len(each["scores"]), 4)
            assert len(each["boxes"]) > 0
            assert each["scores"].equal(each["scores"].sort(descending=True).values)


@pytest.mark.parametrize("config", [FCOS, RETINA])
def test_proposals_of_one_stage(config):
    with pytest.raises(UserError, match="makes no region proposals"):
        module("Detector", config).proposals(batch(ONE))


def test_pictures_are_rgb():
    """A configuration with ``bgr_to_rgb`` normalises red with the mean of red."""
    found = module("Detector")
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[0] = 255
    inputs, _ = found.inputs(batch(ONE) | {"image": [image]}, training=False)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    torch.testing.assert_close(inputs[0, :, 0, 0], (torch.tensor([255.0, 0, 0]) - mean) / std)


def test_bf16():
    found = module("Detector")
    with torch.autocast("cpu", torch.bfloat16):
        losses = found.losses(batch(ONE, TWO))
    gradients(found, losses)
    found.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (each, _) = found.predict_step(batch(ONE, TWO), 0)
    assert each["boxes"].dtype == each["scores"].dtype == torch.float32


class TestRate:
    def test_rises_from_a_thousandth(self):
        found = module("Detector", warmup_steps=100, milestones=[500, 700])
        assert found.rate(0, 1000) == pytest.approx(0.001)
        assert found.rate(50, 1000) == pytest.approx(0.5005)
        assert found.rate(100, 1000) == 1

    def test_falls_at_milestones(self):
        found = module("Detector", warmup_steps=0, milestones=[500, 700])
        rates = [found.rate(step, 1000) for step in (0, 499, 500, 699, 700, 999)]
        assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])

    def test_follows_a_cosine_without_milestones(self):
        found = module("Detector", warmup_steps=100)
        assert found.rate(100, 1100) == pytest.approx(1)
        assert found.rate(350, 1100) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 4)))
        assert found.rate(1100, 1100) == pytest.approx(0.01)
        assert found.rate(5000, math.inf) == pytest.approx(1)  # a training without end

    def test_drives_the_optimizer(self, tmp_path):
        rates: list[float] = []

        class Rates(Callback):
            def on_train_batch_start(self, trainer, *_):
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        run = trainer(tmp_path, Rates(), max_epochs=1, **QUICK)
        run.fit(module("Detector", lr=0.1, warmup_steps=2, milestones=[3]), datamodule=Batches([batch(ONE)] * 5))
        assert rates == pytest.approx([0.0001, 0.05005, 0.1, 0.01, 0.01])


class Norms(Callback):
    """Records the norm of the gradient that the optimiser steps along."""

    def __init__(self):
        self.seen: list[float] = []

    def on_train_start(self, trainer, pl_module):
        trainer.optimizers[0].register_step_post_hook(lambda *_: self.seen.append(self.norm(pl_module)))

    def norm(self, module_) -> float:
        return torch.stack([each.grad.norm() for each in module_.parameters() if each.grad is not None]).norm().item()


@pytest.mark.parametrize(
    ("name", "kind", "momentum"), [("sgd", torch.optim.SGD, 0.9), ("adamw", torch.optim.AdamW, None)]
)
def test_optimizer(tmp_path, name, kind, momentum):
    options = {"optimizer": name, "lr": 0.02, "weight_decay": 0.03}
    found = module("Detector", more={"backbone.frozen_stages": 1}, **options)
    run = trainer(tmp_path, max_steps=1, **QUICK)
    run.fit(found, datamodule=Batches([batch(ONE)]))
    (optimizer,) = run.optimizers
    assert isinstance(optimizer, kind)
    (group,) = optimizer.param_groups
    assert (group["initial_lr"], group["weight_decay"], group.get("momentum")) == (0.02, 0.03, momentum)
    trained = {id(each) for each in found.parameters() if each.requires_grad}
    assert {id(each) for each in group["params"]} == trained
    assert len(trained) < len(list(found.parameters()))


def test_clipping(tmp_path):
    def norm(clip, **trained_with):
        norms = Norms()
        run = trainer(tmp_path, norms, max_steps=1, **QUICK, **trained_with)
        run.fit(module("Detector", clip=clip), datamodule=Batches([batch(ONE, TWO)]))
        return norms.seen[0]

    free = norm(None)
    assert free > 1
    assert norm(0.05) == pytest.approx(0.05, rel=1e-3)
    assert norm(100.0) == pytest.approx(free)
    # What a message about losses that are not finite recommends.
    assert norm(None, gradient_clip_val=0.05) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("lr", [0.0, -0.1])
def test_lr_is_positive(lr):
    with pytest.raises(UserError, match="above 0"):
        Detector(FPN, lr=lr)


def test_configurations_that_are_not_there():
    with pytest.raises(UserError, match="no detector configuration"):
        Detector("configs/detectors/absent.py")
    with pytest.raises(UserError, match="mmdet's collection has no"):
        Detector("mmdet::faster_rcnn/absent.py")


def test_number_of_classes(tmp_path):
    found = module("Detector")
    run = trainer(tmp_path, max_steps=1)
    with pytest.raises(UserError, match=r"12 classes apart, the data have 20.*num_classes=20"):
        run.fit(found, datamodule=Batches([batch(ONE)], classes=20))
    with pytest.raises(UserError, match="num_classes=20"):
        run.test(found, datamodule=Batches([batch(ONE)], classes=20), verbose=False)
    assert [module("Detector", config).num_classes for config in (FPN, CASCADE, FCOS)] == [12, 12, 12]
    assert Detector(FPN, num_classes=20, overrides=SMALL[FPN]).num_classes == 20


def test_weights(tmp_path):
    other = module("Detector")
    with torch.no_grad():
        for each in other.parameters():
            each.add_(1)
    save_file(other.detector.state_dict(), tmp_path / "all.safetensors")
    save_file(other.detector.backbone.state_dict(), tmp_path / "backbone.safetensors")
    own = Detector(FPN, overrides=SMALL[FPN], weights=str(tmp_path / "all.safetensors"))
    torch.testing.assert_close(own.state_dict(), other.state_dict())
    own = Detector(FPN, overrides=SMALL[FPN], backbone_weights=str(tmp_path / "backbone.safetensors"))
    torch.testing.assert_close(own.detector.backbone.state_dict(), other.detector.backbone.state_dict())
    assert not own.detector.rpn_head.rpn_cls.weight.equal(other.detector.rpn_head.rpn_cls.weight)


def test_weights_that_do_not_fit(tmp_path):
    save_file(module("Detector").detector.state_dict(), tmp_path / "twelve.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        Detector(FPN, num_classes=3, overrides=SMALL[FPN], weights=str(tmp_path / "twelve.safetensors"))
    with pytest.raises(UserError):
        Detector(FPN, overrides=SMALL[FPN], weights=str(tmp_path / "absent.safetensors"))


def test_masks_that_are_not_in_the_batch():
    with pytest.raises(UserError, match="with_masks"):
        module("Detector", MASKS).losses(batch(ONE))


def test_masks_of_the_batch_are_learnt():
    """A mask that covers half of its box costs another loss than one that fills it."""
    found = module("Detector", MASKS)
    whole, half = (batch(ONE, masks=True) for _ in range(2))
    half["masks"][0][0, :, :24] = False
    results = []
    for each in (whole, half):
        torch.manual_seed(3)
        results.append(found.losses(each)["loss_mask"].item())
    assert results[0] != results[1]


def test_of_an_object_without_a_mask_the_box_alone_is_learnt():
    found, absent = module("Detector", MASKS), batch(TWO, masks=True)
    absent["masks"][0][1] = False
    absent["with_mask"] = [torch.tensor([True, False])]
    results = []
    for each in (batch(TWO, masks=True), absent):
        torch.manual_seed(3)
        results.append(found.losses(each))
    for name in ("loss_cls", "loss_bbox", "loss_rpn_cls", "loss_rpn_bbox"):
        torch.testing.assert_close(results[0][name], results[1][name])
    assert results[0]["loss_mask"] != results[1]["loss_mask"]
    _, (sample,) = found.inputs(absent, training=True)
    assert sample.gt_instances.with_mask.tolist() == [True, False]


def test_a_detector_that_cannot_learn_such_a_box_says_so(monkeypatch):
    found, absent = module("Detector", MASKS), batch(TWO, masks=True)
    absent["with_mask"] = [torch.tensor([True, False])]
    monkeypatch.setattr("lightning_modules.detector.passes_over_absent_masks", lambda detector: False)
    with pytest.warns(UserWarning, match="MaskRCNN cannot learn the boxes of objects without a mask: they are ignored"):
        _, (sample,) = found.inputs(absent, training=True)
    assert len(sample.gt_instances) == len(sample.ignored_instances) == 1


def test_a_detector_of_boxes_takes_batches_with_masks():
    small = {"backbone.widen_factor": 0.25, "backbone.deepen_factor": 0.33}
    small |= {"neck.in_channels": [64, 128, 256], "neck.out_channels": 32, "neck.num_csp_blocks": 1}
    small |= {"bbox_head.in_channels": 32, "bbox_head.feat_channels": 32}
    found = Detector("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py", num_classes=3, overrides=small)
    results = []
    for masks in (True, False):
        torch.manual_seed(0)
        results.append(found.losses(batch(ONE, masks=masks)))
    torch.testing.assert_close(*results)  # masks make no difference to it
    found.total(results[0], batch(ONE, masks=True)).backward()
    assert any(each.grad is not None and each.grad.any() for each in found.parameters())


def test_masks_learnt_inside_the_head_of_boxes_are_asked_for():
    small = {"backbone.widen_factor": 0.25, "backbone.deepen_factor": 0.33}
    small |= {"neck.in_channels": [64, 128, 256], "neck.out_channels": 32, "neck.num_csp_blocks": 1}
    small |= {"bbox_head.in_channels": 32, "bbox_head.feat_channels": 32}
    found = Detector("mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", num_classes=3, overrides=small)
    with pytest.raises(UserError, match="with_masks"):
        found.losses(batch(ONE))
    found.total(found.losses(batch(ONE, masks=True)), batch(ONE, masks=True)).backward()


def test_trains_and_tests(tmp_path):
    found = module("Detector", lr=0.001, warmup_steps=0)
    run = trainer(tmp_path, max_epochs=2, limit_val_batches=1, num_sanity_val_steps=1, enable_checkpointing=False)
    data = Batches([batch(ONE, TWO), batch([], [])])
    before = found.detector.rpn_head.rpn_cls.weight.clone()
    run.fit(found, datamodule=data)
    assert not before.equal(found.detector.rpn_head.rpn_cls.weight)
    assert {"train/loss", "train/loss_rpn_cls", "train/loss_bbox", "train/acc"} <= run.callback_metrics.keys()
    assert np.isfinite(run.callback_metrics["train/loss"].item())
    assert len(run.predict(found, datamodule=data)) == 2


def test_loading_from_a_checkpoint(tmp_path):
    found = module("Detector", lr=0.003)
    run = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(found, datamodule=Batches([batch(ONE)]))
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = Detector.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    torch.testing.assert_close(again.state_dict(), found.state_dict())
    assert again.hparams == found.hparams


def test_checkpoints_keep_the_names_of_the_classes():
    found, checkpoint = module("Detector"), {}
    found.on_save_checkpoint(checkpoint)
    assert "categories" not in checkpoint
    found.categories = [{"id": 3, "name": "car"}]
    found.on_save_checkpoint(checkpoint)
    other = module("SparseDet")
    other.on_load_checkpoint(checkpoint)
    assert other.categories == [{"id": 3, "name": "car"}]
    other.on_load_checkpoint({})  # of an earlier version
    assert other.categories == []


def test_data_without_sizes_are_told_how_to_name_pictures():
    with pytest.raises(UserError, match=r"--data\.init_args\.pictures"):
        module("Detector").predict_step({"task": "predict", "image": torch.zeros(1, 3, 64, 64)}, 0)


@pytest.mark.parametrize("kind", ["Detector", "SparseDet"])
def test_pictures_from_python_give_what_the_data_give(kind):
    found = module(kind).eval()
    views = {"second_view": SecondView()} if kind == "SparseDet" else {}
    pictures = [Image.fromarray(pixels(90, 60)), Image.fromarray(pixels(40, 200))]
    together = batch_of(pictures, 64, 128, **views)
    with torch.no_grad():
        first, second = found.predict_step(together, 0)
        alone = found.predict_step(batch_of(pictures[:1], 64, 128, **views), 0)[0]
    assert first["boxes"][:, 3].max() <= 90
    assert second["boxes"][:, 2].max() <= 200
    assert len(first["boxes"]) > 0
    assert alone["boxes"].shape[1] == 4


@pytest.mark.parametrize("kind", ["Detector", "SparseDet"])
def test_answers_have_no_objects_without_area(kind, monkeypatch):
    found = module(kind)
    boxes = torch.tensor([[0.0, 0, 5, 5], [3, 0, 3, 5], [0, 2, 5, 5]])
    detections = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8, 0.7]), "labels": torch.tensor([0, 1, 1])}
    monkeypatch.setattr(found, "predict_step", lambda batch, index: [detections])
    (objects,) = found.answers({"classes": ["cat", "dog"]})
    assert objects.boxes.tolist() == [[0, 0, 5, 5], [0, 2, 5, 5]]
    assert objects.scores.tolist() == pytest.approx([0.9, 0.7])
    assert objects.names == ["cat", "dog"]
    assert found.test_step({}, 0) == [detections]
