import numpy as np

from datamodules import COCODetection, DetectionScenes
from datamodules.detection.label_columns import labels_of
from tests.helpers.replicas_detection import make_coco_detection


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("sizes", "pictures", "labels", "boxes", "ignored")
    )


def test_records_of_files_give_what_their_pictures_give(tmp_path):
    data = COCODetection(str(make_coco_detection(tmp_path)), split="3", percent=50)
    data.setup("fit")
    records = data.training_images()
    assert same(labels_of(records), labels_of(list(records)))
    assert 0 < len(labels_of(records).labels) < len(records.coco.labels)


def test_what_a_split_removed_is_not_there():
    data = DetectionScenes(scenes=6, test_scenes=2, image_size=64, split="1", percent=50, batch_size=2)
    data.setup("test")
    assert data.training_labels() is None
    data.setup("fit")
    columns, images = data.training_labels(), data.training_images()
    assert len(columns.sizes) == 6
    kept = [image.labels[~image.removed] for image in images]
    assert columns.labels.tolist() == np.concatenate(kept).tolist()
    assert np.bincount(columns.pictures, minlength=6).tolist() == [len(each) for each in kept]


def test_of_no_picture():
    columns = labels_of([])
    assert (columns.sizes.shape, columns.boxes.shape, len(columns.labels)) == ((0, 2), (0, 4), 0)
