"""Detectors of mmdet's collection, or of one's own mmengine configuration, as plain modules."""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from networks.detection import configs
from networks.detection.absent_masks import pass_over_absent_masks
from networks.detection.checkpoints import load_backbone, load_detector
from networks.detection.devices import follow_devices
from networks.detection.mask_pasting import mend_pasting
from networks.detection.ops import ensure_ops
from networks.detection.precision import keep_coordinates_exact
from networks.weights import read_values, weights_total
from visionscapes.errors import UserError

# Modules that register what mmdet's collection lacks.
OUR_MODELS = ("networks.detection.centernet2", "networks.detection.vit_pyramid")


@functools.cache
def setup_mmdet() -> None:
    """Make mmdet's models and ours buildable; calls after the first do nothing.

    Installs the operators, registers the models with mmdet as the default scope, and lets the loggers of mmengine and
    mmdet speak from warnings on. mmengine's message hub, from which some heads read the time, starts at 0.
    """
    ensure_ops()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmdet.utils import register_all_modules
        from mmengine.logging import MMLogger

        register_all_modules(init_default_scope=True)
    for name in ("mmengine", "mmdet"):
        MMLogger.get_instance(name, logger_name=name).setLevel(logging.WARNING)
    if importlib.util.find_spec("pkg_resources") is None:
        _find_packages_without_setuptools()
    mend_pasting()
    pass_over_absent_masks()
    follow_devices()
    for name in OUR_MODELS:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    set_progress(0, 0)


def set_progress(step: int, epoch: int) -> None:
    """Tell heads whose losses change during training (TOOD, BoxInst) where it stands, before each of its steps.

    Args:
        step: training steps done.
        epoch: epochs done.
    """
    from mmengine.logging import MessageHub

    hub = MessageHub.get_current_instance()
    hub.update_info("iter", step)
    hub.update_info("epoch", epoch)


def build_detector(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    weights: str | None = None,
    backbone_weights: str | None = None,
    skip_mismatched: bool = False,
) -> nn.Module:
    """Build and initialise a detector.

    Some things of a configuration are changed, because they need a network, GPUs or mmengine's runner: weights are
    never downloaded (name files instead); synchronised batch normalisation becomes the ordinary one
    (``Trainer(sync_batchnorm=True)`` brings it back); images are not resized in batches, the data module does that;
    branches for stuff are left out with a warning.

    Args:
        config: path of an mmengine configuration, "mmdet::" and a path in mmdet's collection, or a dictionary; see
            `networks.detection.configs.read_config`.
        overrides: dotted keys within the model and their values, {"backbone.depth": 18}; see
            `networks.detection.configs.override`.
        num_classes: K, set in all heads but an RPN's; None keeps the configuration's.
        weights: file with weights of the whole detector, see `networks.detection.checkpoints.load_detector`.
        backbone_weights: file with weights of the backbone alone, see `networks.detection.checkpoints.load_backbone`.
        skip_mismatched: load what fits of either file and warn about the rest, instead of refusing the file.

    Returns:
        The detector of mmdet, in training mode, on the CPU.

    Raises:
        UserError: the configuration or an override is wrong, describes something else than a detector of images, or
            needs what is not there; a file of weights does not fit.
    """
    setup_mmdet()
    model = configs.read_config(config)
    for key, value in (overrides or {}).items():
        configs.apply_override(model, key, value)
    _refuse(model)
    configs.remove_stuff(model)
    configs.remove_downloads(model)
    configs.remove_batch_augments(model)
    configs.use_local_batch_norm(model)
    if num_classes is not None:
        if num_classes < 1:
            raise UserError(f"num_classes is {num_classes}; a detector needs one class or more")
        configs.set_num_classes(model, num_classes)

    teacher_weights = model.pop("teacher_ckpt", None)
    detector = _build(model)
    if lacking := [name for name, weight in detector.named_parameters() if not weight.numel()]:
        raise UserError(f"the configuration gives {lacking[0]} no weights at all: look for empty lists and zeros in it")
    if teacher_weights is not None:
        load_detector(detector.teacher_model, teacher_weights)
    if backbone_weights is not None:
        load_backbone(detector, backbone_weights, skip_mismatched)
    if weights is not None:
        load_detector(detector, weights, skip_mismatched)
    if weights or backbone_weights or (model.get("backbone") or {}).get("weights"):
        _warn_of_other_lift(detector, model)
    else:
        _warn_of_frozen(detector)
    return detector


def _build(model: dict[str, Any]) -> Any:
    from mmdet.registry import MODELS
    from mmengine.logging import MMLogger

    try:
        detector = MODELS.build(model)
    except (TypeError, ValueError, AssertionError, AttributeError, ImportError, LookupError, ArithmeticError) as error:
        raise UserError(
            f"the configuration cannot be built: {error}; check it, and the overrides, against the arguments of "
            f"{model['type']}"
        ) from error
    # Some backbones warn that they start from scratch, although their weights are loaded right afterwards.
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        detector.init_weights()
    finally:
        logger.setLevel(level)
    _mend(detector)
    return detector


def _warn_of_other_lift(detector: Any, model: Mapping[str, Any]) -> None:
    """Warn if a checkpoint of LiFT says that its block learned from another ViT than the detector's."""
    lift = (model.get("backbone") or {}).get("lift")
    path = lift.get("weights") if isinstance(lift, Mapping) else None
    trained_on = None if path is None else read_values(path).get("backbone")
    told = trained_on.get("blocks") if isinstance(trained_on, Mapping) else None
    if told is not None and told != weights_total(detector.backbone.vit.blocks):
        warnings.warn(
            f"the LiFT block in '{path}' learned from another ViT than that of this detector: train one on this ViT, "
            "as the head of lift_vitdet.yaml says",
            stacklevel=2,
        )


def _mend(detector: Any) -> None:
    """Make the detectors of mmdet 3.3 run that would fail in a step of Lightning, or with a message that misleads.

    By hooks on modules inside, because ``loss`` and ``predict`` are called without the detector's own ``forward``.
    """
    from mmcv.ops import MaskedConv2d
    from mmdet.models.dense_heads import CenterNetHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    keep_coordinates_exact(detector)
    if getattr(detector, "as_two_stage", False):
        detector.encoder.register_forward_hook(functools.partial(_check_queries, detector.num_queries))
    for module in detector.modules():
        if isinstance(module, MaskedConv2d):
            module.register_forward_pre_hook(_allow_one_image)
        if isinstance(module, CenterNetHead):
            detector.data_preprocessor.register_forward_hook(_note_borders)
        if isinstance(module, BaseDenseHead) and not hasattr(module, "loss_cls"):
            module.loss_cls = None  # SSD's head has none and is asked for it in prediction


def _refuse(model: Mapping[str, Any]) -> None:
    """Raise an error for models that cannot be trained or tested with images and boxes alone."""
    from mmdet.models.detectors import BaseDetector, SemiBaseDetector
    from mmdet.registry import MODELS

    name = model["type"] if isinstance(model["type"], str) else model["type"].__name__
    kind = MODELS.get(name) if isinstance(model["type"], str) else model["type"]
    if kind is None:
        raise UserError(f"no model of the type '{name}' is registered; check the spelling")
    if not (isinstance(kind, type) and issubclass(kind, BaseDetector)):
        raise UserError(f"'{name}' detects nothing in single images; of a tracker take the detector inside it")
    if issubclass(kind, SemiBaseDetector):
        raise UserError(f"'{name}' needs mmengine's runner to learn from unlabelled images; take its detector")
    if "language_model" in model:
        raise UserError(f"'{name}' is prompted with text, which data sets of boxes lack; choose another detector")
    if name == "CrowdDet":
        raise UserError(f"'{name}' knows one class, and wants two objects or more in each image; choose another")
    if model.get("roi_head") and not model.get("rpn_head"):
        raise UserError(f"'{name}' is given proposals from a file; choose a detector with an RPN (faster_rcnn)")
    _refuse_suppression(model)
    teacher = model.get("teacher_ckpt")
    if teacher is not None and not Path(teacher).is_file():
        raise UserError(
            f"the teacher's weights '{teacher}' are not a file: fetch them and override 'teacher_ckpt' with their "
            "path, or with null for an untrained teacher"
        )


def _refuse_suppression(part: Any) -> None:
    """Raise an error for a non-maximum suppression that does not exist: mmcv would run its name as code."""
    from mmcv import ops

    if isinstance(part, list | tuple):
        for each in part:
            _refuse_suppression(each)
    elif isinstance(part, Mapping):
        for key, value in part.items():
            _refuse_suppression(value)
            if key == "nms" and isinstance(value, Mapping) and isinstance(value.get("type"), str):
                name = value["type"]
                if not (name.isidentifier() and "nms" in name and callable(getattr(ops, name, None))):
                    raise UserError(f"there is no non-maximum suppression '{name}': choose nms or soft_nms")


def _allow_one_image(convolution: Any, inputs: Any) -> None:
    """Guided anchoring predicts at the places that it finds in the first image of a batch."""
    if len(inputs) > 1 and inputs[1] is not None and len(inputs[0]) > 1:
        raise UserError("guided anchoring predicts for one image at a time: evaluate with a batch size of 1")


def _note_borders(preprocessor: Any, inputs: Any, output: Any) -> None:
    """CenterNet's own pipeline puts images into a larger one and notes where: top, bottom, left, right."""
    for sample in output["data_samples"] or []:
        height, width = sample.img_shape[:2]
        sample.set_metainfo({"border": (0, height, 0, width)})


def _check_queries(queries: int, encoder: Any, inputs: Any, memory: Tensor) -> None:
    """Two-stage DETRs choose their queries among the positions of all feature maps, which small images have few of."""
    if memory.shape[1] < queries:
        raise UserError(
            f"the detector needs {queries} positions for its queries, and images of this size have {memory.shape[1]}: "
            "override 'num_queries' with less, or enlarge the images"
        )


def _warn_of_frozen(detector: Any) -> None:
    frozen = [name for name, weight in detector.backbone.named_parameters() if not weight.requires_grad]
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in detector.backbone.modules())
    still = ["statistics of norms"] if norms and getattr(detector.backbone, "norm_eval", False) else []
    still += [f"{len(frozen)} tensors ({frozen[0]}, ...)"] if frozen else []
    if still:
        warnings.warn(
            f"the backbone has no weights and keeps {' and '.join(still)} as they are: give backbone_weights, or let "
            "it train by overriding 'backbone.frozen_stages' with -1, 'backbone.norm_cfg.requires_grad' with true and "
            "'backbone.norm_eval' with false",
            stacklevel=3,
        )


def _find_packages_without_setuptools() -> None:
    """Let configurations have bases in other packages ("mmdet::..."), for which mmengine asks setuptools."""
    from mmengine.config import config

    def is_installed(package: str) -> bool:
        return importlib.util.find_spec(package) is not None

    def get_installed_path(package: str) -> str:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named '{package}'")
        return str(Path(spec.origin).parent)

    config.is_installed = is_installed
    config.get_installed_path = get_installed_path
