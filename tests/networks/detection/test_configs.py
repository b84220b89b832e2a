import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.detection import configs
from visionscapes.errors import UserError

FASTER = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"


def test_a_name_in_the_collection_a_path_and_dictionaries_are_the_same_model(tmp_path):
    model = configs.read_config(FASTER)
    assert model["type"] == "FasterRCNN"
    path = configs.collection() / "faster_rcnn" / "faster-rcnn_r50_fpn_1x_coco.py"
    assert configs.read_config(path) == model
    assert configs.read_config(str(path)) == model
    assert configs.read_config(FASTER.removesuffix(".py")) == model
    assert configs.read_config({"model": model}) == model
    assert configs.read_config(model) == model
    own = tmp_path / "own.py"
    own.write_text(f"_base_ = {str(path)!r}\nmodel = dict(backbone=dict(depth=18))\n")
    assert configs.read_config(own)["backbone"]["depth"] == 18


def test_reading_a_dictionary_copies_it():
    given_model = {"type": "Any", "neck": {"levels": [1, 2]}}
    configs.read_config(given_model)["neck"]["levels"].append(3)
    assert given_model == {"type": "Any", "neck": {"levels": [1, 2]}}


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("mmdet::faster_rcnn/faster-rcn_r50_fpn_1x.py", "similar: .*mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
        ("mmdet::retinanet_r50_fpn_1x_coco", "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"),
        ("mmdet::zzzzzzzz", "see /"),
        ("nowhere/config.py", "'mmdet::' and a name"),
    ],
)
def test_wrong_names_are_answered_with_similar_ones(name, match):
    with pytest.raises(UserError, match=match):
        configs.read_config(name)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("model = dict(type=", "cannot be read as an mmengine configuration: SyntaxError"),
        ("_base_ = 'absent.py'", "cannot be read as an mmengine configuration: FileNotFoundError"),
        ("custom_imports = dict(imports=['no_such_module_1'], allow_failed_imports=False)", "not installed.*no_such"),
        ("train_cfg = dict()", "describes no model"),
        ("model = dict(depth=3)", "describes no model"),
    ],
)
def test_files_that_are_no_configurations(tmp_path, text, match):
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(UserError, match=match) as raised:
        configs.read_config(path)
    assert "sys.path" not in str(raised.value)


def example():
    return {
        "type": "Cascade",
        "backbone": {"type": "ResNet", "depth": 50, "norm_cfg": {"type": "SyncBN", "requires_grad": True}},
        "heads": [{"type": "Head", "num_classes": 80}, {"type": "Head", "num_classes": 80}],
        "test_cfg": {"rcnn": {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}}},
    }


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("backbone.depth", 18, lambda m: m["backbone"]["depth"]),
        ("backbone.frozen_stages", -1, lambda m: m["backbone"]["frozen_stages"]),
        ("heads.1.num_classes", 3, lambda m: m["heads"][1]["num_classes"]),
        ("test_cfg.rcnn.nms.iou_threshold", 0.9, lambda m: m["test_cfg"]["rcnn"]["nms"]["iou_threshold"]),
        ("test_cfg.rcnn.max_per_img", 7, lambda m: m["test_cfg"]["rcnn"]["max_per_img"]),
        ("backbone", None, lambda m: m["backbone"]),
    ],
)
def test_overrides_set_one_value_and_no_other(key, value, where):
    model = example()
    configs.apply_override(model, key, value)
    assert where(model) == value
    configs.apply_override(model, key, "back")
    other = example()
    configs.apply_override(other, key, "back")
    assert model == other


def test_a_key_of_a_list_goes_to_all_its_elements():
    model = example()
    configs.apply_override(model, "heads.num_classes", 4)
    assert [head["num_classes"] for head in model["heads"]] == [4, 4]


def test_dictionaries_are_merged_unless_their_type_differs():
    model = example()
    configs.apply_override(model, "backbone", {"depth": 18, "norm_cfg": {"requires_grad": False}})
    assert model["backbone"] == {
        "type": "ResNet",
        "depth": 18,
        "norm_cfg": {"type": "SyncBN", "requires_grad": False},
    }
    configs.apply_override(model, "backbone", {"type": "ResNet", "depth": 34})
    assert model["backbone"]["norm_cfg"]["type"] == "SyncBN"
    configs.apply_override(model, "backbone", {"type": "VGG"})
    assert model["backbone"] == {"type": "VGG"}
    configs.apply_override(model, "test_cfg.rcnn", {"_delete_": True, "score_thr": 0.1})
    assert model["test_cfg"]["rcnn"] == {"score_thr": 0.1}


@pytest.mark.parametrize(
    ("key", "match"),
    [
        ("bakbone.depth", "no 'bakbone' there; did you mean 'backbone'"),
        ("neck.depth", "no 'neck' there; there are: type, backbone"),
        ("backbone.normcfg", "did you mean 'norm_cfg'"),
        ("test_cfg.rcnn.scor_thr", "did you mean 'score_thr'"),
        ("backbone.depth.more", "'more' would lie inside the value 50"),
        ("heads.2.num_classes", "has 2 elements only"),
    ],
)
def test_overrides_that_lead_nowhere(key, match):
    model = example()
    with pytest.raises(UserError, match=match):
        configs.apply_override(model, key, 1)
    assert model == example()


def test_classes_are_set_in_every_head_and_in_no_rpn():
    model = {
        "type": "Any",
        "backbone": {"num_classes": 1000},
        "rpn_head": {"num_classes": 1, "loss": {"num_classes": 1}},
        "roi_head": {
            "bbox_head": [{"num_classes": 80, "loss_cls": {"type": "SeesawLoss", "num_classes": 80}}],
            "mask_head": {"num_classes": 80},
        },
        "panoptic_head": {"num_things_classes": 80, "loss_cls": {"class_weight": [1.0] * 80 + [0.1]}},
        "bbox_head": {"loss_cls": {"class_weight": 1.0}},
    }
    configs.set_num_classes(model, 3)
    assert model["backbone"]["num_classes"] == 1000
    assert model["rpn_head"] == {"num_classes": 1, "loss": {"num_classes": 1}}
    (head,) = model["roi_head"]["bbox_head"]
    assert head == {"num_classes": 3, "loss_cls": {"type": "SeesawLoss", "num_classes": 3}}
    assert model["roi_head"]["mask_head"]["num_classes"] == 3
    assert model["panoptic_head"] == {"num_things_classes": 3, "loss_cls": {"class_weight": [1.0, 1.0, 1.0, 0.1]}}
    assert model["bbox_head"]["loss_cls"]["class_weight"] == 1.0


def test_nothing_is_left_to_download():
    pretrained = {"type": "Pretrained", "checkpoint": "torchvision://resnet50"}
    normal = {"type": "Normal", "layer": "Conv2d"}
    model = {
        "backbone": {"init_cfg": pretrained},
        "neck": {"rfp_backbone": {"pretrained": "torchvision://resnet50"}},
        "teacher": {"init_cfg": {"checkpoint": "https://somewhere/pvt.pth"}},
        "heads": [{"init_cfg": [normal, pretrained]}, {"init_cfg": normal}],
    }
    configs.remove_downloads(model)
    assert model == {
        "backbone": {"init_cfg": None},
        "neck": {"rfp_backbone": {"pretrained": None}},
        "teacher": {"init_cfg": None},
        "heads": [{"init_cfg": [normal]}, {"init_cfg": normal}],
    }


def test_checkpoints_without_a_type_are_taken_out_too():
    model = {"backbone": {"init_cfg": {"checkpoint": "https://example.org/pvt_tiny.pth"}}}
    configs.remove_downloads(model)
    assert model == {"backbone": {"init_cfg": None}}


def test_synchronised_norms_become_ordinary_ones_with_their_options():
    model = example()
    configs.use_local_batch_norm(model)
    assert model["backbone"]["norm_cfg"] == {"type": "BN", "requires_grad": True}


def test_batches_are_not_resized_and_the_rest_of_the_preprocessor_stays():
    model = {"data_preprocessor": {"pad_size_divisor": 32, "batch_augments": [{"type": "BatchSyncRandomResize"}]}}
    configs.remove_batch_augments(model)
    assert model == {"data_preprocessor": {"pad_size_divisor": 32, "batch_augments": None}}


@pytest.mark.filterwarnings("error")
def test_branches_for_stuff_are_left_out_and_others_untouched():
    model = {"type": "HTC", "roi_head": {"semantic_head": {"type": "S"}, "semantic_roi_extractor": {"type": "E"}}}
    with pytest.warns(UserWarning, match="branches for stuff are left out"):
        configs.remove_stuff(model)
    assert model == {"type": "HTC", "roi_head": {"semantic_head": None, "semantic_roi_extractor": None}}
    untouched = example()
    configs.remove_stuff(untouched)
    assert untouched == example()


def test_the_teacher_of_a_distilled_detector_is_found_in_the_collection():
    model = configs.read_config("mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py")
    assert model["teacher_config"]["model"]["type"] == "GFL"
    before = copy.deepcopy(model["teacher_config"])
    configs.set_num_classes(model, 3)
    assert model["teacher_config"] == before  # its own weights decide its classes
    assert model["bbox_head"]["num_classes"] == 3


@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.lists(st.integers(), max_size=3), max_size=3))
def test_what_has_none_of_the_marks_passes_unchanged(values):
    model = {"type": "Any", "inner": values}
    expected = copy.deepcopy(model)
    configs.set_num_classes(model, 3)
    configs.remove_downloads(model)
    configs.use_local_batch_norm(model)
    configs.remove_batch_augments(model)
    configs.remove_stuff(model)
    assert model == expected


def test_a_key_that_is_no_name():
    with pytest.raises(UserError, match="override 5: give the name"):
        configs.apply_override({"type": "Any"}, 5, 5)  # type: ignore[arg-type]


def test_names_with_dots_inside_a_dictionary():
    """As the command line's parser hands on --model.overrides.backbone.lift.weights=x beside other overrides."""
    model = {"type": "Any", "backbone": {"depth": 50, "lift": {"weights": None, "frozen": True}}}
    configs.apply_override(model, "backbone", {"lift.weights": "x", "depth": 18})
    assert model["backbone"] == {"depth": 18, "lift": {"weights": "x", "frozen": True}}
