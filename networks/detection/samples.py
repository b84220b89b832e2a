"""Between batches of ``datamodules.detection.samples`` and mmdet's ``DetDataSample``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networks.detection.absent_masks import with_boxes_for_masks


def to_samples(batch: Mapping[str, Any], with_masks: bool = True, boxes_alone: bool = True) -> list[Any]:
    """Return the annotations of a batch as mmdet takes them, one ``DetDataSample`` a picture.

    Args:
        batch: see ``datamodules.detection.samples``.
        with_masks: whether to hand over its masks; some detectors of boxes, such as RTMDet, stumble over them.
        boxes_alone: whether objects without a mask are handed over beside others, marked by "with_mask", because the
            detector passes over them in its mask loss; else they are ignored, neither objects nor background.
    """
    from mmdet.structures import DetDataSample

    samples = []
    for k, image in enumerate(batch["image"]):
        height, width = image.shape[1:]
        original = tuple(batch["size"][k].tolist())
        factor = (width / original[1], height / original[0])
        meta = {"img_shape": (height, width), "ori_shape": original, "scale_factor": factor}
        sample = DetDataSample(metainfo=meta | {"img_id": batch["image_id"][k]})
        masks = batch["masks"][k] if with_masks and "masks" in batch else None
        boxes, labels, ignored, marks = batch["boxes"][k], batch["labels"][k], batch["ignored"][k], {}
        if masks is not None and not (present := _present(batch, k)).all():
            if boxes_alone:
                masks, marks = with_boxes_for_masks(masks, boxes, present), {"with_mask": present.to(boxes.device)}
            else:
                rows = present.to(boxes.device)
                ignored = torch.cat([ignored, boxes[~rows]])
                boxes, labels, masks = boxes[rows], labels[rows], masks[rows]
        sample.gt_instances = as_instances(boxes, labels, masks, (height, width))
        for name, values in marks.items():
            sample.gt_instances[name] = values
        sample.ignored_instances = as_instances(ignored)
        samples.append(sample)
    return samples


def _present(batch: Mapping[str, Any], picture: int) -> Tensor:
    """Return (N,) bool on the CPU: which objects of a picture have a mask, as the batch says or its masks show."""
    if "with_mask" in batch:
        return batch["with_mask"][picture].cpu()
    return batch["masks"][picture].flatten(1).any(1).cpu()


def learns_masks(detector: Any) -> bool:
    """Return whether a detector of mmdet learns masks: by a head of its own, RTMDet-Ins inside its head of boxes."""
    inside = getattr(detector, "bbox_head", None)
    return detector.with_mask or hasattr(detector, "panoptic_head") or hasattr(inside, "mask_head")


def as_instances(
    boxes: Tensor, labels: Tensor | None = None, masks: Tensor | None = None, size: tuple[int, int] = (0, 0)
) -> Any:
    """Return boxes, and what else is known of them, as mmdet's ``InstanceData``.

    Args:
        boxes: (N, 4) xyxy pixels.
        labels: (N,) int64.
        masks: (N, H, W) bool.
        size: H and W.
    """
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    instances = InstanceData(bboxes=boxes)
    if labels is not None:
        instances.labels = labels
    if masks is not None:
        instances.masks = BitmapMasks(masks.to("cpu", torch.uint8).numpy(), *size)
    return instances


def preprocess(detector: Any, images: Sequence[Tensor], samples: list[Any], training: bool) -> tuple[Tensor, list[Any]]:
    """Normalise and pad pictures as the detector's configuration says.

    Args:
        detector: of mmdet.
        images: B x (3, H, W) uint8 RGB; mmdet's configurations are written for BGR.
        samples: of the same pictures; they learn the padded shapes.
        training: whether to augment batches, where the configuration does.

    Returns:
        The batch (B, 3, H, W) float32 and the samples.
    """
    data = {"inputs": [image.flip(0) for image in images], "data_samples": samples}
    data = detector.data_preprocessor(data, training)
    return data["inputs"], data["data_samples"]


def predictions_of(samples: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the detections in mmdet's samples.

    Returns:
        For every picture "boxes" (M, 4) float32 xyxy in pixels of the original, "scores" (M,) float32, descending,
        "labels" (M,) int64 and, if the detector segments, "masks", M compressed RLE.
    """
    predictions = []
    for sample in samples:
        found = sample.pred_instances
        order = found.scores.argsort(descending=True, stable=True)
        prediction: dict[str, Any] = {
            "boxes": found.bboxes[order].float(),  # numpy, and so the metrics, know no bfloat16
            "scores": found.scores[order].float(),
            "labels": found.labels[order],
        }
        if "masks" in found:
            prediction["masks"] = compressed(found.masks[order])
        predictions.append(prediction)
    return predictions


def with_area(found: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the detections of a picture whose boxes have a width and a height, and how many have not.

    Detectors give such boxes where they cut at the border of the picture. Evaluation counts them, as pycocotools does.

    Args:
        found: see `predictions_of`.
    """
    boxes = found["boxes"]
    rows = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    if bool(rows.all()):
        return dict(found), 0
    kept: dict[str, Any] = {key: value[rows] for key, value in found.items() if isinstance(value, Tensor)}
    lists = {key: value for key, value in found.items() if key not in kept}
    for key, value in lists.items():
        kept[key] = [each for each, stays in zip(value, rows.tolist(), strict=True) if stays]
    return kept, int((~rows).sum())


def proposals_of(results: Sequence[Any]) -> list[dict[str, Tensor]]:
    """Return region proposals, for every picture "boxes" (P, 4) float32 xyxy and "scores" (P,), descending."""
    proposals = []
    for each in results:
        order = each.scores.argsort(descending=True, stable=True)
        proposals.append({"boxes": each.bboxes[order].float(), "scores": each.scores[order].float()})
    return proposals


def compressed(masks: Tensor) -> list[dict[str, Any]]:
    """Return masks (M, H, W) bool as compressed COCO RLE."""
    from pycocotools import mask as rle

    if not len(masks):
        return []
    return rle.encode(np.asfortranarray(masks.cpu().numpy().astype(np.uint8).transpose(1, 2, 0)))
