import argparse
import warnings

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from networks.detection.checkpoints import load_backbone, load_detector
from visionscapes.errors import UserError


class Head(nn.Module):
    def __init__(self, classes, shared=None):
        super().__init__()
        self.fc_cls = nn.Linear(4, classes)
        if shared is not None:
            self.shared_head = shared


class Detector(nn.Module):
    """Stands for a detector of mmdet, whose ResNets have the names of torchvision's."""

    def __init__(self, classes=3, backbone=None, shared=None):
        super().__init__()
        self.backbone = backbone or nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.roi_head = Head(classes, shared)


def resnet(stages=4):
    net = resnet18()
    for name in ["fc", *[f"layer{stage}" for stage in range(stages + 1, 5)]]:
        delattr(net, name)
    return net


def same(module, state):
    return all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def mmengine_checkpoint(state):
    """What mmengine's runner writes: the logs are objects of its own, with methods and numpy arrays inside."""
    logs = {"train/loss": HistoryBuffer([1.0, 0.5], [1, 1])}
    meta = {"epoch": 12, "best": np.float64(0.4), "seed": np.int64(3), "names": np.array(["a", "b"])}
    return {"meta": meta, "state_dict": state, "message_hub": {"log_scalars": logs}, "optimizer": {"lr": [0.1]}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"epoch": 1}},
        mmengine_checkpoint,
        lambda state: {"state_dict": {f"detector.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)},
    ],
    ids=["plain", "mmdet", "mmengine", "lightning", "ddp", "namespace"],
)
def test_checkpoints_of_all_makers_are_loaded(tmp_path, wrap):
    source, target = Detector(), Detector()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth")
    assert not same(target, source.state_dict())
    load_detector(target, tmp_path / "w.pth")
    assert same(target, source.state_dict())


def test_safetensors_are_loaded(tmp_path):
    source, target = Detector(), Detector()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_detector(target, tmp_path / "w.safetensors")
    assert same(target, source.state_dict())


class OpensAFile:
    """Calls what is no system call, so that torch does not refuse it by its module alone, as it does ``Bomb``."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_reading_a_checkpoint_runs_nothing_in_it(tmp_path):
    source, mark = Detector(), tmp_path / "mark"
    torch.save({"state_dict": source.state_dict(), "meta": OpensAFile(str(mark))}, tmp_path / "w.pth")
    target = Detector()
    load_detector(target, tmp_path / "w.pth")
    assert same(target, source.state_dict())
    assert not mark.exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert mark.exists()  # the bomb is a real one


def test_what_it_allows_is_not_left_allowed(tmp_path):
    torch.save(mmengine_checkpoint(Detector().state_dict()), tmp_path / "w.pth")
    before = set(torch.serialization.get_safe_globals())
    load_detector(Detector(), tmp_path / "w.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_other_numbers_of_classes_are_refused_or_skipped_where_asked(tmp_path):
    source, target = Detector(classes=80), Detector(classes=3)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"roi_head\.fc_cls\.weight is \(80, 4\), wanted \(3, 4\).*skip_mismatched"):
        load_detector(target, tmp_path / "w.pth")
    head = target.roi_head.fc_cls.weight.clone()
    with pytest.warns(UserWarning, match=r"only what fits.*fc_cls\.bias is \(80,\)"):
        load_detector(target, tmp_path / "w.pth", skip_mismatched=True)
    assert same(target.backbone, source.backbone.state_dict())
    assert torch.equal(target.roi_head.fc_cls.weight, head)


def test_what_is_missing_and_left_over_is_named(tmp_path):
    state = Detector().state_dict()
    state["neck.weight"] = state.pop("backbone.0.bias")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"missing: backbone\.0\.bias; left over: neck\.weight"):
        load_detector(Detector(), tmp_path / "w.pth")


def test_a_file_of_something_else_is_refused_even_where_skipping_is_asked(tmp_path):
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not fit the detector"):
        load_detector(Detector(), tmp_path / "w.pth", skip_mismatched=True)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut short"])
def test_damaged_and_absent_files(tmp_path, content):
    with pytest.raises(UserError, match="no weights at"):
        load_detector(Detector(), tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pth"):
        load_detector(Detector(), tmp_path / "w.pth")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net.state_dict(),
        lambda net: {"state_dict": {f"backbone.{key}": value for key, value in net.state_dict().items()}},
        lambda net: {"state_dict": {f"detector.{k}": v for k, v in Detector(80, net).state_dict().items()}},
        lambda net: Detector(80, net).state_dict(),
        lambda net: {"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}},
    ],
    ids=["torchvision", "prefixed", "lightning", "detector", "ddp"],
)
def test_backbones_come_from_classifiers_and_detectors(tmp_path, wrap):
    source = resnet18()
    torch.save(wrap(source), tmp_path / "w.pth")
    target = Detector(backbone=resnet())
    load_backbone(target, tmp_path / "w.pth")
    assert same(target.backbone, source.state_dict())


def test_a_c4_detector_gets_the_last_stage_into_its_shared_head(tmp_path):
    shared = nn.Module()
    shared.layer4 = resnet18().layer4
    target, source = Detector(backbone=resnet(3), shared=shared), resnet18()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_backbone(target, tmp_path / "w.pth")
    assert same(target.backbone, source.state_dict())
    assert same(shared, source.state_dict())

    other = Detector(backbone=resnet(3), shared=nn.Module())
    other.roi_head.shared_head.layer4 = resnet18().layer4
    torch.save(target.state_dict(), tmp_path / "whole.pth")
    load_backbone(other, tmp_path / "whole.pth")
    assert same(other.roi_head.shared_head, source.state_dict())


def test_stages_that_the_detector_leaves_out_are_ignored(tmp_path):
    source, target = resnet18(), Detector(backbone=resnet(3))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_backbone(target, tmp_path / "w.pth")
    assert same(target.backbone, source.state_dict())


def test_a_deeper_backbone_is_refused_although_all_its_shapes_fit(tmp_path):
    state = resnet18().state_dict()
    state |= {key.replace("layer3.1", "layer3.2"): v for key, v in state.items() if key.startswith("layer3.1")}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"left over: layer3\.2"):
        load_backbone(Detector(backbone=resnet()), tmp_path / "w.pth")


def test_offsets_of_deformable_convolutions_may_be_missing_and_other_tensors_not(tmp_path):
    state = resnet18().state_dict()
    net = resnet()
    net.layer4[0].conv2.conv_offset = nn.Conv2d(4, 4, 1)
    torch.save(state, tmp_path / "w.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_backbone(Detector(backbone=net), tmp_path / "w.pth")
    net.layer4[0].conv3 = nn.Conv2d(4, 4, 1)
    with pytest.raises(UserError, match=r"missing: layer4\.0\.conv3\.bias"):
        load_backbone(Detector(backbone=net), tmp_path / "w.pth")
    with pytest.warns(UserWarning, match="only what fits"):
        load_backbone(Detector(backbone=net), tmp_path / "w.pth", skip_mismatched=True)


def test_a_part_with_a_file_of_its_own_may_be_missing(tmp_path):
    """As LiFT behind the ViT of a detector that was trained without it."""
    plain, lifted = Detector(), Detector()
    lifted.backbone.add_module("lift", nn.Linear(2, 2))
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(UserError, match=r"missing: backbone\.lift\.bias, backbone\.lift\.weight"):
        load_detector(lifted, tmp_path / "plain.pth")
    lifted.backbone.brought = ("lift",)
    own = lifted.backbone.lift.weight.clone()
    load_detector(lifted, tmp_path / "plain.pth")
    assert same(lifted.roi_head, plain.roi_head.state_dict())
    assert torch.equal(lifted.backbone.lift.weight, own)
    load_backbone(lifted, tmp_path / "plain.pth")
    other = Detector()
    other.backbone.add_module("lift", nn.Linear(2, 2))
    torch.save(other.state_dict(), tmp_path / "both.pth")
    load_detector(lifted, tmp_path / "both.pth")  # a file that has it wins
    assert same(lifted, other.state_dict())
