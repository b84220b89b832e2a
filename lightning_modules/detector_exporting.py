"""Detectors as networks of their own: to the raw outputs of their heads, which Python decodes, and end to end."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from typing_extensions import override

from networks.detection.fixed_number import of_fixed_number, pooled_at_all_levels
from visionscapes.errors import UserError
from visionscapes.exporting.parts import BATCH, Exportable, Input, Size

Call = Callable[..., Sequence[Tensor]]


class Normalised(nn.Module):
    """Base of the networks to export: takes pictures (B, 3, H, W) RGB in [0, 1] as the detector's own inputs.

    Args:
        detector: of mmdet.
    """

    def __init__(self, detector: Any):
        super().__init__()
        self.detector = detector
        preprocessor = detector.data_preprocessor
        self.flips = not preprocessor._channel_conversion  # mmdet's configurations are written for BGR
        self.normalises = bool(preprocessor._enable_normalize)

    def prepared(self, images: Tensor) -> Tensor:
        """Return pictures as the detector's backbone takes them."""
        images = 255 * (images.flip(1) if self.flips else images)
        known = self.detector.data_preprocessor
        return (images - known.mean) / known.std if self.normalises else images

    def samples(self, images: Tensor) -> list[Any]:
        """Return what mmdet has to know of pictures that fill their batch."""
        from mmdet.structures import DetDataSample

        return [DetDataSample(metainfo=meta(images)) for _ in range(images.shape[0])]


class RawHeads(Normalised):
    """Backbone, neck and head: pictures to everything that the head says, level by level.

    Of a detector with two stages these are the features of all levels and what the RPN says.
    """

    def nested(self, images: Tensor) -> Any:
        """Return the outputs as mmdet's heads give them."""
        x, detector = self.prepared(images), self.detector
        if hasattr(detector, "forward_transformer"):
            return detector._forward(x, self.samples(images))
        features = detector.extract_feat(x)
        return (
            (features, detector.rpn_head(features)) if hasattr(detector, "rpn_head") else detector.bbox_head(features)
        )

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in order."""
        return tuple(each for each in pytree.tree_leaves(self.nested(images)) if isinstance(each, Tensor))


class SecondStage(nn.Module):
    """The second stage: boxes on the features of all levels to scores and corrections of each.

    Args:
        roi_head: of mmdet.
        stage: of a cascade, from 0; None where there is one.
    """

    def __init__(self, roi_head: Any, stage: int | None):
        super().__init__()
        self.head = roi_head.bbox_head if stage is None else roi_head.bbox_head[stage]
        self.extractor = roi_head.bbox_roi_extractor if stage is None else roi_head.bbox_roi_extractor[stage]
        self.shared = roi_head.shared_head if roi_head.with_shared_head else None

    @override
    def forward(self, boxes: Tensor, image: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (R, K + 1) and corrections (R, 4 K) or (R, 4).

        Args:
            boxes: (R, 4) xyxy in pixels.
            image: (R,) integers, which picture of the batch each is in.
            features: (B, C, h, w) of each level.
        """
        rois = torch.cat([image[:, None].to(boxes), boxes], 1)
        pooled = pooled_at_all_levels(self.extractor, features[: self.extractor.num_inputs], rois)
        scores, corrections = self.head(pooled if self.shared is None else self.shared(pooled))
        return scores, corrections


class WholeDetector(Normalised):
    """A detector end to end, for one picture of a fixed size: boxes, scores and labels, the rest filled up.

    Args:
        detector: of mmdet.
    """

    def __init__(self, detector: Any):
        super().__init__(detector)
        config = detector.test_cfg.rcnn if hasattr(detector, "roi_head") else detector.test_cfg
        head = getattr(detector, "bbox_head", None)
        self.limit = int(config.get("max_per_img", getattr(head, "num_query", 100)))
        self.threshold = float(config.get("score_thr", -1.0))

    def found(self, images: Tensor) -> Any:
        """Return mmdet's detections in the first picture."""
        x, samples, detector = self.prepared(images), self.samples(images), self.detector
        features = detector.extract_feat(x)
        if hasattr(detector, "forward_transformer"):
            inputs = detector.forward_transformer(features, samples)
            return detector.bbox_head.predict(**inputs, rescale=False, batch_data_samples=samples)[0]
        if not hasattr(detector, "roi_head"):
            return detector.bbox_head.predict(features, samples, rescale=False)[0]
        proposals = detector.rpn_head.predict(features, samples, rescale=False)
        metas = [each.metainfo for each in samples]
        return detector.roi_head.predict_bbox(features, metas, proposals, detector.test_cfg.rcnn, rescale=False)[0]

    def padded(self, found: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return detections by falling score, as many as there may be, those that are none with a score of -1."""
        scores, order = found.scores.topk(min(self.limit, found.scores.shape[0]))
        missing = self.limit - scores.shape[0]
        boxes, labels = found.bboxes[order], found.labels[order]
        boxes = torch.cat([boxes, boxes.new_zeros(missing, 4)])
        scores = torch.cat([scores, scores.new_full((missing,), -1.0)])
        labels = torch.cat([labels, labels.new_zeros(missing)])
        known = scores > self.threshold
        return boxes * known[:, None], torch.where(known, scores, -1.0), labels * known

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (M, 4) xyxy in pixels, scores (M,) and labels (M,) of a picture (1, 3, H, W)."""
        with of_fixed_number(self.detector):
            return self.padded(self.found(images))

    def reference(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the detector itself finds."""
        return self.padded(self.found(images))


def meta(images: Tensor) -> dict[str, Any]:
    """Return what mmdet has to know of pictures (B, 3, H, W) that fill their batch and are of their own size."""
    size = images.shape[2], images.shape[3]
    shapes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), size)
    return {**shapes, "scale_factor": (1.0, 1.0), "border": (0, size[0], 0, size[1]), "img_id": 0}


def decoded(
    detector: Any, network: RawHeads, outputs: Sequence[Tensor], images: Tensor, box_heads: Sequence[Call] = ()
) -> list[dict[str, Tensor]]:
    """Return the boxes that the raw outputs of an exported detector mean: decoding and suppression, in Python.

    Args:
        detector: of mmdet, whose configuration says how; its weights are not used.
        network: that was exported, which knows the order of the outputs.
        outputs: of the exported network for ``images``.
        images: (B, 3, H, W), whose size counts.
        box_heads: of a detector with two stages, what runs the exported box head of each stage.

    Returns:
        For every picture "boxes" (M, 4) xyxy in pixels, "scores" (M,) falling and "labels" (M,).
    """
    with torch.no_grad():
        shape = network.nested(images.new_zeros(images.shape))  # the order of the outputs; their values are not used
    leaves, structure = pytree.tree_flatten(shape)
    given = iter(outputs)
    nested = pytree.tree_unflatten([next(given) if isinstance(each, Tensor) else each for each in leaves], structure)
    metas = [meta(images)] * len(images)
    if not hasattr(detector, "rpn_head"):
        found = detector.bbox_head.predict_by_feat(*nested, batch_img_metas=metas, rescale=False)
    else:
        features, said = nested
        proposals = detector.rpn_head.predict_by_feat(*said, batch_img_metas=metas, rescale=False)
        head = copy.copy(detector.roi_head)
        head.__dict__["_bbox_forward"] = _by_exported(box_heads)
        found = head.predict_bbox(features, metas, proposals, detector.test_cfg.rcnn, rescale=False)
    results = []
    for each in found:
        order = each.scores.argsort(descending=True, stable=True)
        results.append({"boxes": each.bboxes[order], "scores": each.scores[order], "labels": each.labels[order]})
    return results


def _by_exported(box_heads: Sequence[Call]) -> Callable[..., dict[str, Any]]:
    def forward(*args: Any, **named: Any) -> dict[str, Any]:
        *stage, features, rois = [*args, *(named[name] for name in ("stage", "x", "rois") if name in named)]
        scores, corrections = box_heads[stage[0] if stage else 0](rois[:, 1:], rois[:, 0].long(), *features)
        return {"cls_score": scores, "bbox_pred": corrections, "bbox_feats": None}

    return forward


def exported_detector(
    detector: Any, size: tuple[int, int], categories: Sequence[Mapping[str, Any]]
) -> list[Exportable]:
    """Return what of a detector is exported: raw heads, the second stage where there is one, and the whole.

    Args:
        detector: of mmdet, on the CPU, in evaluation mode.
        size: height and width in pixels of pictures where they cannot vary.
        categories: "id" and "name" of the classes, by label; empty if they are not known.

    Raises:
        UserError: a detector without boxes of its own, such as Mask2Former, or one that has learned its proposals.
    """
    if not hasattr(detector, "bbox_head") and not hasattr(getattr(detector, "roi_head", None), "bbox_head"):
        raise UserError(f"{type(detector).__name__} has no head of boxes that could be exported")
    if type(getattr(detector, "rpn_head", None)).__name__ == "EmbeddingRPNHead":
        raise UserError(f"{type(detector).__name__} has learned its proposals, which no network makes of a picture")
    multiple = max(int(getattr(detector.data_preprocessor, "pad_size_divisor", 1)), 32)
    height, width = (-(-side // multiple) * multiple for side in size)
    network = RawHeads(detector)
    detector.eval()
    with torch.no_grad():
        shape = network.nested(torch.zeros(1, 3, 10 * multiple, 12 * multiple))
    places = [
        ("_".join(str(getattr(key, "idx", getattr(key, "key", key))) for key in path), each)
        for path, each in pytree.tree_flatten_with_path(shape)[0]
        if isinstance(each, Tensor)
    ]
    about = {
        **({"classes": [str(each["name"]) for each in categories]} if categories else {}),
        **({"category_ids": [each["id"] for each in categories]} if categories else {}),
        "detector": type(detector).__name__,
        "padding": f"to the right and below, to multiples of {multiple}, with the mean colour",
        "mean_colour": mean_colour(network),
    }
    picture = "RGB pictures; normalised inside"
    parts = [
        Exportable(
            name="detector_heads",
            network=network,
            inputs={"images": Input(shape=("batch", 3, "height", "width"), meaning=picture)},
            outputs={f"raw_{path}": "output of the head, as mmdet gives it" for path, _ in places},
            sizes={
                "batch": Size(2, (3, 1), fixed=1),
                # So large that no level of the features is a single cell, which exporters take for a special case.
                "height": Size(10 * multiple, (12 * multiple, 9 * multiple), multiple, fixed=height),
                "width": Size(12 * multiple, (10 * multiple, 14 * multiple), multiple, fixed=width),
            },
            about=about,
        )
    ]
    if hasattr(detector, "roi_head"):
        parts += _box_heads(detector, list(shape[0]), multiple, about)
    whole = WholeDetector(detector)
    parts.append(
        Exportable(
            name="detector",
            network=whole,
            inputs={"images": Input(shape=(1, 3, height, width), meaning=picture)},
            outputs={
                "boxes": "xyxy in pixels, by falling score",
                "scores": "in [0, 1]; -1 where there is no further box",
                "labels": "number of the class",
            },
            sizes={},
            about={**about, "boxes_at_most": whole.limit, "score_threshold": whole.threshold},
            reference=whole.reference,
            optional=True,
        )
    )
    return parts


def _box_heads(detector: Any, features: list[Tensor], multiple: int, about: dict[str, Any]) -> list[Exportable]:
    head = detector.roi_head
    stages = range(len(head.bbox_head)) if isinstance(head.bbox_head, nn.ModuleList) else [None]
    sizes = {"batch": BATCH, "rois": Size(6, (9, 4))}
    maps = {}
    for level, each in enumerate(features):
        _, channels, h, w = each.shape
        sizes |= {f"height_{level}": Size(h + 2, (h + 4, h + 3)), f"width_{level}": Size(w + 2, (w + 3, w + 5))}
        shape = ("batch", channels, f"height_{level}", f"width_{level}")
        maps[f"features_{level}"] = Input(
            shape=shape, meaning=f"raw_0_{level} of detector_heads", kind="normal", low=None, high=None
        )
    boxes = Input(shape=("rois", 4), meaning="xyxy in pixels", kind="boxes", low=0.0, high=3.0 * multiple)
    image = Input(shape=("rois",), meaning="which picture each is in", kind="integers", low=0, high=1)
    return [
        Exportable(
            name="detector_boxes" if stage is None else f"detector_boxes_{stage}",
            network=SecondStage(head, stage),
            inputs={"boxes": boxes, "image": image, **maps},
            outputs={"scores": "logits of the classes, the last for background", "corrections": "of the boxes"},
            sizes=sizes,
            about=about,
        )
        for stage in stages
    ]


def mean_colour(network: Normalised) -> list[float]:
    """Return the colour (RGB in [0, 1]) that becomes zero, with which mmdet fills pictures up."""
    known = network.detector.data_preprocessor
    mean = known.mean.flatten() / 255 if network.normalises else torch.zeros(3)
    return [round(float(each), 6) for each in (mean.flip(0) if network.flips else mean)]
