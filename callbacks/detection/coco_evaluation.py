"""Average precision as COCO defines it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from callbacks.detection.evaluation import DetectionEvaluation, EvaluatedImage, Figure, columns
from callbacks.results.presentation import SHARE, Presentation
from metrics.coco_average_precision import Curves, coco_curves


class COCOEvaluation(DetectionEvaluation):
    """COCO's AP, AP50, AP75, APs, APm and APl of boxes, and of masks where detector and data set have them.

    "AP" is the mean over the IoU thresholds 0.50 to 0.95, "AP50" and "AP75" are at one of them; "APs", "APm" and "APl"
    are of objects below 32² square pixels, up to 96² and above; "AR@100" is the recall of up to 100 detections a class
    and picture, the mean over the thresholds. Objects that are ignored (crowds, and the difficult ones of VOC) are
    neither hit nor miss: detections that lie in them do not count. The numbers are those of pycocotools, the areas of
    masks being their own and not those of their boxes. Of data with ``class_groups``, name -> labels, "AP<name>" is
    that of a group, such as "APr" of the rare classes of the scenes.

    Takes validation and test batches of task "detection" (see ``DetectionEvaluation``); rows of protocol "coco",
    methods "boxes" and "masks".
    """

    protocol = "coco"
    # Seven columns, because the names are short and there are no standard errors.
    presentation = Presentation("Average precision (COCO)", SHARE, ranked=False, columns=7)

    @override
    def figures(self, images: Sequence[EvaluatedImage], datamodule: Any) -> list[Figure]:
        annotated, detected = columns(images)
        methods = ["boxes"] if annotated.masks is None else ["boxes", "masks"]
        sizes = [image.size for image in images]
        figures = []
        for method in methods:
            curves = coco_curves(annotated, detected, sizes, len(datamodule.classes), masks=method == "masks")
            values = _summary(curves) | {
                f"AP{name}": curves.average_precision(classes=np.isin(np.arange(len(datamodule.classes)), labels))
                for name, labels in getattr(datamodule, "class_groups", {}).items()
            }
            figures += [Figure(name, method, value, count=len(images)) for name, value in values.items()]
        return figures


def _summary(curves: Curves) -> dict[str, float]:
    precision = curves.average_precision
    return {
        "AP": precision(),
        "AP50": precision(50),
        "AP75": precision(75),
        "APs": precision(area="small"),
        "APm": precision(area="medium"),
        "APl": precision(area="large"),
        "AR@100": curves.average_recall(),
    }
