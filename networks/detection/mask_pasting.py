"""Masks of boxes outside the picture, at which mmdet 3.3 fails on the CPU."""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor


@functools.cache
def mend_pasting() -> None:
    """Let mmdet paste the mask of a box beside the picture as nothing; calls after the first do nothing.

    Cascades of queries (QueryInst) do not clip their boxes, and untrained ones put some outside.
    """
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head

    fcn_mask_head._do_paste_mask = functools.partial(paste, fcn_mask_head._do_paste_mask)


def paste(
    original: Callable[..., Any], masks: Tensor, boxes: Tensor, img_h: int, img_w: int, skip_empty: bool = True
) -> tuple[Tensor, tuple[slice, ...]]:
    """Call mmdet's function, unless boxes and picture have no pixel in common.

    Args:
        original: mmdet's function.
        masks: (N, 1, h, w) float, in coordinates of the boxes.
        boxes: (N, 4) float xyxy, pixels.
        img_h: height of the picture.
        img_w: width of the picture.
        skip_empty: whether to paste the surroundings of the boxes only; mmdet does so on the CPU.

    Returns:
        Masks (N, H', W') in [0, 1] of a part of the picture, and the slices of that part; none for the whole.
    """
    if skip_empty:  # on a GPU the whole picture is pasted, and nothing need be asked of the boxes
        left, top = (boxes[:, :2].min(0).values.floor() - 1).tolist()
        right, bottom = (boxes[:, 2:].max(0).values.ceil() + 1).tolist()
        if not (max(left, 0) <= min(right, img_w) and max(top, 0) <= min(bottom, img_h)):
            return masks.new_zeros(len(masks), 0, 0), (slice(0, 0), slice(0, 0))
    return original(masks, boxes, img_h, img_w, skip_empty)
