import logging
import warnings

import pytest
import torch
from torch import nn

from networks.detection.build import build_detector, set_progress, setup_mmdet
from networks.detection.samples import preprocess, to_samples
from tests.helpers.drawn_detection import drawn_batch, losses_of, predicted, total_of
from visionscapes.errors import UserError

FASTER = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
SMALL = {
    "backbone.depth": 18,
    "backbone.base_channels": 8,
    "backbone.frozen_stages": -1,
    "backbone.norm_eval": False,
    "neck.in_channels": [8, 16, 32, 64],
    "neck.out_channels": 16,
    "rpn_head.in_channels": 16,
    "rpn_head.feat_channels": 16,
    "roi_head.bbox_roi_extractor.out_channels": 16,
    "roi_head.bbox_head.in_channels": 16,
    "roi_head.bbox_head.fc_out_channels": 16,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


def small(overrides=None, **kwargs):
    return build_detector(FASTER, SMALL | (overrides or {}), **kwargs)


@pytest.mark.filterwarnings("error")
def test_a_detector_of_the_collection_is_built_with_overrides_and_classes(caplog, capsys):
    detector = small({"roi_head.bbox_head.loss_bbox.loss_weight": 2.0}, num_classes=3)
    assert detector.roi_head.bbox_head.num_classes == 3
    assert detector.roi_head.bbox_head.fc_cls.out_features == 4
    assert detector.rpn_head.num_classes == 1
    assert detector.roi_head.bbox_head.loss_bbox.loss_weight == 2
    assert len(detector.backbone.layer1) == 2
    assert detector.training
    assert not capsys.readouterr().out  # mmengine would print a block for every tensor that it initialises
    assert not caplog.records


def test_setup_is_idempotent_and_sets_the_scope_once():
    from mmengine import DefaultScope

    setup_mmdet()
    scope = DefaultScope.get_current_instance()
    setup_mmdet()
    assert DefaultScope.get_current_instance() is scope
    assert scope.scope_name == "mmdet"


def test_the_classes_of_the_configuration_stay_without_a_number():
    assert small().roi_head.bbox_head.num_classes == 80


def test_the_given_dictionary_and_overrides_are_left_as_they_are():
    model = {"model": {"type": "FasterRCNN", "backbone": {"type": "Absent", "init_cfg": {"type": "Pretrained"}}}}
    overrides = {"backbone": {"depth": 18}}
    with pytest.raises(UserError):
        build_detector(model, overrides)
    assert model["model"]["backbone"] == {"type": "Absent", "init_cfg": {"type": "Pretrained"}}
    assert overrides == {"backbone": {"depth": 18}}


def test_synchronised_norms_are_ordinary_ones():
    detector = small({"backbone.norm_cfg.type": "SyncBN", "neck.norm_cfg": {"type": "MMSyncBN"}})
    norms = {type(module) for module in detector.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    assert norms == {nn.BatchNorm2d}
    assert isinstance(detector.neck.fpn_convs[0].bn, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"backbone.normcfg": {}}, "did you mean 'norm_cfg'"),
        ({"backbone.wrong": 18}, "cannot be built.*wrong"),
        ({"backbone.type": "ResNett"}, "cannot be built.*ResNett"),
        ({"backbone.depth": 19}, "cannot be built.*19"),
        ({"roi_head.bbox_head.loss_cls.type": "NoLoss"}, "cannot be built.*NoLoss"),
        ({"test_cfg.rcnn.nms.type": "print(1)"}, "no non-maximum suppression .print"),
        ({"rpn_head.anchor_generator.scales": []}, "no weights at all.*empty lists"),
        ({"type": "NoDetector"}, "no model of the type 'NoDetector'"),
        ({"rpn_head": None}, "proposals from a file.*RPN"),
    ],
)
def test_wrong_overrides_are_the_users(overrides, match):
    with pytest.raises(UserError, match=match):
        small(overrides)


def test_a_detector_needs_classes():
    with pytest.raises(UserError, match="num_classes is 0"):
        small(num_classes=0)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ("glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py", "prompted with text"),
        ("grounding_dino/grounding_dino_swin-t_pretrain_obj365_goldg_cap4m.py", "prompted with text"),
        ("fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py", "proposals from a file"),
        ("qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py", "tracker"),
        ("soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py", "unlabelled"),
        ("ld/ld_r18-gflv1-r101_fpn_1x_coco.py", "override 'teacher_ckpt'"),
        ("crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py", "one class"),
        ("common/ms-90k_coco.py", "describes no model"),
        ("convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py", "not installed.*mmpretrain"),
        ("misc/d2_retinanet_r50-caffe_fpn_ms-90k_coco.py", "cannot be built.*[Dd]etectron2"),
    ],
)
def test_what_cannot_be_trained_on_boxes_is_refused(config, match):
    with pytest.raises(UserError, match=match):
        build_detector(f"mmdet::{config}")


def test_a_frozen_backbone_at_random_values_is_warned_of_until_it_gets_weights(tmp_path):
    with pytest.warns(
        UserWarning, match=r"keeps 15 tensors \(conv1\.weight, \.\.\.\) as they are: give backbone_weights"
    ):
        detector = small({"backbone.frozen_stages": 1})
    with pytest.warns(UserWarning, match="keeps statistics of norms as they are"):
        small({"backbone.norm_eval": True})
    torch.save(detector.backbone.state_dict(), tmp_path / "backbone.pth")
    torch.save({"state_dict": detector.state_dict()}, tmp_path / "whole.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small()
        first = small({"backbone.frozen_stages": 1}, backbone_weights=str(tmp_path / "backbone.pth"))
        second = small({"backbone.frozen_stages": 1}, weights=str(tmp_path / "whole.pth"))
    for name, value in detector.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value)
        assert not name.startswith("backbone") or torch.equal(first.state_dict()[name], value)


def test_fine_tuning_with_other_classes_takes_what_fits(tmp_path):
    source = small(num_classes=5)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="skip_mismatched"):
        small(num_classes=2, weights=str(tmp_path / "w.pth"))
    with pytest.warns(UserWarning, match="only what fits"):
        target = small(num_classes=2, weights=str(tmp_path / "w.pth"), skip_mismatched=True)
    torch.testing.assert_close(target.rpn_head.state_dict(), source.rpn_head.state_dict())


def test_a_configuration_may_have_its_base_in_the_collection(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'\nmodel = dict(backbone=dict(depth=34))\n"
    )
    setup_mmdet()
    detector = build_detector(path, SMALL | {"backbone.depth": 34})
    assert len(detector.backbone.layer3) == 6


def test_a_distilled_detector_takes_its_teacher_along():
    small_gfl = {
        "backbone.base_channels": 8,
        "backbone.frozen_stages": -1,
        "neck.in_channels": [8, 16, 32, 64],
        "neck.out_channels": 32,
        "bbox_head.in_channels": 32,
        "bbox_head.feat_channels": 32,
        "bbox_head.stacked_convs": 1,
    }
    teacher = {f"teacher_config.model.{key}": value for key, value in small_gfl.items()}
    overrides = small_gfl | teacher | {"teacher_config.model.backbone.depth": 18, "teacher_ckpt": None}
    detector = build_detector("mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py", overrides, num_classes=2)
    assert detector.teacher_model.bbox_head.num_classes == 80
    assert not any("teacher" in name for name, _ in detector.named_parameters())
    batch = drawn_batch([[(8, 8, 50, 50, 0)], [(8, 8, 50, 50, 1)]], (64, 64))
    inputs = preprocess(detector, batch["image"], to_samples(batch), training=True)
    assert total_of(detector.loss(*inputs)).isfinite()
    torch.nn.ModuleList([detector]).to("meta")  # as a part of something larger, whose `to` is torch's own
    assert {weight.device.type for weight in detector.teacher_model.parameters()} == {"meta"}


def test_guided_anchoring_predicts_one_image_at_a_time():
    head = {
        f"bbox_head.{key}": value for key, value in {"in_channels": 16, "feat_channels": 16, "stacked_convs": 1}.items()
    }
    backbone = {key: value for key, value in SMALL.items() if key.startswith(("backbone", "neck"))}
    detector = build_detector("mmdet::guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco.py", backbone | head)
    batch = drawn_batch([[(8, 8, 50, 50, 0)], [(8, 8, 50, 50, 1)]], (64, 64))
    assert total_of(losses_of(detector, batch)).isfinite()
    detector.eval()
    inputs = preprocess(detector, batch["image"], to_samples(batch), training=False)
    with pytest.raises(UserError, match="batch size of 1"):
        detector.predict(*inputs)
    (found,) = predicted(detector, {key: values[:1] for key, values in batch.items()})
    assert found["boxes"].shape[1] == 4


def test_more_queries_than_positions_are_the_users_to_mend():
    overrides = {
        **{key: value for key, value in SMALL.items() if key.startswith("backbone")},
        "backbone.norm_cfg.requires_grad": True,
        "neck.in_channels": [16, 32, 64],
        "encoder.num_layers": 1,
        "decoder.num_layers": 1,
    }
    dino = "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py"
    batch = drawn_batch([[(8, 8, 50, 50, 0)]], (64, 64))
    with pytest.raises(UserError, match=r"needs 900 positions.*have 85: override 'num_queries'"):
        losses_of(build_detector(dino, overrides, num_classes=2), batch)
    detector = build_detector(dino, overrides | {"num_queries": 20}, num_classes=2)
    assert total_of(losses_of(detector, batch)).isfinite()


def test_heads_that_change_during_training_hear_how_far_it_is():
    from mmengine.logging import MessageHub

    setup_mmdet()
    hub = MessageHub.get_current_instance()
    set_progress(7, 2)
    assert (hub.get_info("iter"), hub.get_info("epoch")) == (7, 2)
    set_progress(0, 0)


def test_loggers_stay_quiet_and_keep_their_level():
    small()
    from mmengine.logging import MMLogger

    assert MMLogger.get_current_instance().level == logging.WARNING
