"""ViTDet: a plain ViT as the backbone of Mask R-CNN, with a simple pyramid and, in between, LiFT (thesis 8.2.5).

Imported by `networks.detection.build.setup_mmdet`, after which configs can name what is registered here.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmdet.models.detectors import TwoStageDetector
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.detection.timm_vit import TimmViT
from visionscapes.errors import UserError

MODELS.register_module(name="LN2d", module=LayerNorm2d)  # the norm of ViTDet's heads


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """A pyramid from one map: ((B, C, h, w),) to maps of ``strides``, finest first (Li et al. 2022, section 3).

    A level is a resampling (transposed convolutions, nothing, or max pooling) and a 1x1 and a 3x3 convolution, each
    followed by a layer norm over channels. The last level is every second cell of the one before.

    Args:
        in_channels: C.
        in_stride: of the map, pixels.
        scales: sizes of the levels, relative to the map: powers of two.
        out_channels: of every level.
        frozen: keep the pyramid as it is.

    Attributes:
        strides: of all levels in pixels, one more than ``scales``.

    Raises:
        UserError: a level would have a stride of a fraction of a pixel, or a scale is no power of two.
    """

    def __init__(
        self,
        in_channels: int,
        in_stride: int,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        out_channels: int = 256,
        frozen: bool = False,
    ):
        super().__init__()
        self.strides = pyramid_strides(in_stride, scales)
        self.levels = nn.ModuleDict({_scale_name(scale): _level(in_channels, scale, out_channels) for scale in scales})
        self.requires_grad_(not frozen)

    @override
    def forward(self, inputs: tuple[Tensor]) -> tuple[Tensor, ...]:
        (features,) = inputs
        # In float32 under autocast too: mmdet rounds the coordinates of RoIs to the type of the features.
        maps = [level(features).float() for level in self.levels.values()]
        return (*maps, F.max_pool2d(maps[-1], kernel_size=1, stride=2))


@MODELS.register_module()
class ViTDet(TwoStageDetector):
    """Mask R-CNN on a ``TimmViT`` and a ``SimpleFeaturePyramid``, with every stride derived from these two.

    The config leaves out what is derived: in_channels, in_stride of the neck, strides of rpn_head.anchor_generator,
    featmap_strides and finest_scale of the RoI extractors, mean, std and pad_size_divisor of the data_preprocessor.
    RoIs of 224 pixels are pooled from the level of stride 16, as in FPN; with all strides halved, those of 112.

    Args:
        backbone: config of a ``TimmViT``.
        neck: config of a ``SimpleFeaturePyramid``; its scales are relative to the map of the ViT, without LiFT.
        rpn_head: see mmdet's ``TwoStageDetector``, likewise the next four.
        roi_head: with bbox_roi_extractor and, for masks, mask_roi_extractor.
        train_cfg: assigners, samplers and the like.
        test_cfg: thresholds and the like.
        data_preprocessor: padding and normalisation.
        pyramid_base: how the pyramid takes the map that LiFT has doubled; nothing without LiFT. "halve_strides" keeps
            the pyramid's layers, so that all strides become half (2 to 32 for a patch of 16): the detector works as
            on a picture twice as large, and weights trained without LiFT fit without fine-tuning. "keep_strides"
            halves the scales instead (strides 4 to 64), which takes another pyramid. The thesis does not say.
        init_cfg: see mmengine's ``BaseModule``.

    Raises:
        UserError: the config states one of the derived values, and states it wrong; or ``pyramid_base`` is unknown.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any],
        rpn_head: Any,
        roi_head: Any,
        train_cfg: Any,
        test_cfg: Any,
        data_preprocessor: Mapping[str, Any] | None = None,
        pyramid_base: Literal["halve_strides", "keep_strides"] = "halve_strides",
        init_cfg: Any = None,
    ):
        if pyramid_base not in ("halve_strides", "keep_strides"):
            raise UserError(f"pyramid_base '{pyramid_base}' does not exist: halve_strides or keep_strides")
        vit = MODELS.build(backbone)
        factor = vit.stride / vit.patch_size if pyramid_base == "keep_strides" else 1
        scales = [scale * factor for scale in neck.get("scales", (4, 2, 1, 0.5))]
        neck = {**neck, "scales": scales}
        _derive(neck, "neck", in_channels=vit.out_channels, in_stride=vit.stride)
        pyramid = MODELS.build(neck)
        rpn_head, roi_head = copy.deepcopy(rpn_head), copy.deepcopy(roi_head)
        _derive(rpn_head["anchor_generator"], "rpn_head.anchor_generator", strides=pyramid.strides)
        for name in ("bbox_roi_extractor", "mask_roi_extractor"):
            if roi_head.get(name) is not None:
                strides = pyramid.strides[:-1]
                _derive(roi_head[name], f"roi_head.{name}", featmap_strides=strides, finest_scale=14 * strides[0])
        super().__init__(
            backbone={"type": lambda: vit},
            neck={"type": lambda: pyramid},
            rpn_head=rpn_head,
            roi_head=roi_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            data_preprocessor=_preprocessor(vit, pyramid, data_preprocessor or {"type": "DetDataPreprocessor"}),
            init_cfg=init_cfg,
        )
        self.rpn_head.register_forward_hook(_in_float32)


def pyramid_strides(in_stride: int, scales: Sequence[float]) -> list[int]:
    """Return the strides of a ``SimpleFeaturePyramid`` on a map of stride ``in_stride``; pixels, finest first.

    Raises:
        UserError: one would be a fraction of a pixel, or a scale is no power of two.
    """
    wrong = [scale for scale in scales if not float(math.log2(scale)).is_integer()]
    if wrong:
        raise UserError(f"scales {wrong} of the pyramid are no powers of two: give some such as 4, 2, 1, 0.5")
    strides = [in_stride / scale for scale in scales]
    if any(not stride.is_integer() for stride in strides):
        raise UserError(
            f"a pyramid with scales {list(scales)} on a map of stride {in_stride} has strides {strides}, which are no "
            "whole pixels: take smaller scales, such as neck.scales=[2,1,0.5,0.25]"
        )
    return [*map(int, strides), 2 * int(strides[-1])]


def _level(channels: int, scale: float, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for doubling in range(round(math.log2(scale))):
        if doubling:
            layers += [LayerNorm2d(channels), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
        channels //= 2
    if scale < 1:
        layers.append(nn.MaxPool2d(round(1 / scale)))
    return nn.Sequential(
        *layers,
        nn.Conv2d(channels, out_channels, kernel_size=1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )


def _scale_name(scale: float) -> str:
    return f"up{round(scale)}" if scale >= 1 else f"down{round(1 / scale)}"


def _derive(config: Any, where: str, **derived: Any) -> None:
    """Put values into ``config``; what it already states has to agree."""
    for key, value in derived.items():
        given = config.get(key)
        if given is not None and given != value:
            raise UserError(
                f"{where}.{key} of the detector's config is {given}, but its backbone and neck make it {value}: "
                "leave it out, it is derived"
            )
        config[key] = value


def _in_float32(_: nn.Module, __: Any, outputs: tuple[list[Tensor], ...]) -> tuple[list[Tensor], ...]:
    """Return the head's outputs in float32: mmdet gives anchors their type, and bfloat16 knows no pixel beyond 256."""
    return tuple([level.float() for level in levels] for levels in outputs)


def _preprocessor(vit: TimmViT, pyramid: SimpleFeaturePyramid, config: Mapping[str, Any]) -> dict[str, Any]:
    scaled = {"mean": [255 * value for value in vit.mean], "std": [255 * value for value in vit.std]}
    config = {**scaled, "bgr_to_rgb": True, **config}
    # Every level but the last, which takes every second cell, has to divide the map without remainder.
    needed = math.lcm(vit.patch_size, pyramid.strides[-2])
    if config.setdefault("pad_size_divisor", needed) % needed:
        raise UserError(
            f"data_preprocessor.pad_size_divisor of the detector's config is {config['pad_size_divisor']}, but patches "
            f"and pyramid take multiples of {needed} pixels: leave it out, it is derived"
        )
    return config
