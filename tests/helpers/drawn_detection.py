"""Batches of drawn rectangles, and one training step of a detector on them."""

import torch

from networks.detection.samples import predictions_of, preprocess, to_samples

COLOURS = torch.tensor([[230, 40, 40], [40, 90, 230]], dtype=torch.uint8)


def drawn_batch(pictures, size=(96, 128)):
    """Return a batch for ``networks.detection.samples``; ``pictures`` holds [(x1, y1, x2, y2, label), ...] each."""
    height, width = size
    batch = {"image": [], "boxes": [], "labels": [], "ignored": [], "masks": [], "size": [], "image_id": []}
    generator = torch.Generator().manual_seed(0)
    for number, objects in enumerate(pictures):
        image = torch.randint(100, 130, (3, height, width), generator=generator, dtype=torch.uint8)
        masks = torch.zeros(len(objects), height, width, dtype=torch.bool)
        for mask, (x1, y1, x2, y2, label) in zip(masks, objects, strict=True):
            mask[y1:y2, x1:x2] = True
            image[:, mask] = COLOURS[label][:, None]
        batch["image"].append(image)
        batch["boxes"].append(torch.tensor([each[:4] for each in objects], dtype=torch.float32).view(-1, 4))
        batch["labels"].append(torch.tensor([each[4] for each in objects], dtype=torch.int64))
        batch["ignored"].append(torch.zeros(0, 4))
        batch["masks"].append(masks)
        batch["size"].append(torch.tensor(size))
        batch["image_id"].append(number)
    return batch


def losses_of(detector, batch, bf16=False):
    """Return the detector's losses in training mode, as mmdet names them."""
    detector.train()
    images, samples = preprocess(detector, batch["image"], to_samples(batch), training=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return detector(images, samples, mode="loss")


def total_of(losses):
    """Return the sum of what is called a loss."""
    values = [torch.stack([*value]).sum() if isinstance(value, list) else value for value in losses.values()]
    return sum(value for name, value in zip(losses, values, strict=True) if "loss" in name)


@torch.no_grad()
def predicted(detector, batch, bf16=False):
    """Return the detections of every picture."""
    detector.eval()
    images, samples = preprocess(detector, batch["image"], to_samples(batch), training=False)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return predictions_of(detector(images, samples, mode="predict"))


def without_gradient(detector):
    """Return names of trainable parameters that the last backward pass did not reach."""
    return [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
