"""A data module of COCO at small sizes, and a sparse copy of its file."""

import shutil

from datamodules.detection.coco import COCODetection
from tests.helpers.replicas_detection import edit_json

TRAIN, VAL = "annotations/instances_train2017.json", "annotations/instances_val2017.json"


def ready(root, stage="fit", **options):
    small = {"batch_size": 2, "num_workers": 0, "train_sizes": [32], "test_size": 32}
    data = COCODetection(str(root), **(small | options))
    data.setup(stage)
    return data


def sparse_file(root, gone):
    path = root / "sparse.json"
    shutil.copy(root / TRAIN, path)

    def change(content):
        content["annotations"] = [each for each in content["annotations"] if each["id"] not in gone]

    edit_json(path, change)
    return str(path)
