"""Average precision as PASCAL VOC defines it, and as COCO does, at an IoU of 0.5."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from callbacks.detection.evaluation import DetectionEvaluation, EvaluatedImage, Figure, columns
from callbacks.results.presentation import SHARE, Presentation
from metrics.coco_average_precision import coco_curves
from metrics.voc_average_precision import voc_average_precision


class VOCEvaluation(DetectionEvaluation):
    """AP50 of boxes by the three conventions in use, the means over the classes that have an object.

    * "AP50 (VOC 11 points)": the mean of the precision at eleven recalls, as in VOC 2007.
    * "AP50 (VOC area)": the area below the curve, as in VOC 2010 and later.
    * "AP50 (COCO)": the mean at 101 recalls. A detection that overlaps an object which is taken tries the next one,
      where for VOC it is a miss; difficult objects are crowds, in which detections need only lie.

    Difficult objects are neither hit nor miss in all of them. The thesis (chapter 3) speaks of the AP50 of VOC; the
    official code of SparseDet registers VOC as a COCO data set, which gives the last one.

    Takes validation and test batches of task "detection" (see ``DetectionEvaluation``); rows of protocol "voc", method
    "boxes".
    """

    protocol = "voc"
    presentation = Presentation("Average precision (PASCAL VOC)", SHARE, ranked=False)

    @override
    def figures(self, images: Sequence[EvaluatedImage], datamodule: Any) -> list[Figure]:
        annotated, detected = columns(images)
        num_classes = len(datamodule.classes)
        values = {
            f"AP50 (VOC {convention})": float(precision[~np.isnan(precision)].mean())
            if (~np.isnan(precision)).any()
            else float("nan")
            for convention, precision in voc_average_precision(annotated, detected, num_classes).items()
        }
        curves = coco_curves(annotated, detected, [image.size for image in images], num_classes)
        values["AP50 (COCO)"] = curves.average_precision(50)
        return [Figure(name, "boxes", value, count=len(images)) for name, value in values.items()]
