import io

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.label_maps import resize_labels
from datamodules.translation.face_world import FaceWorld
from datamodules.translation.given import GivenPairs, labels_of
from datamodules.translation.pairs_to_predict import PairsToPredict
from networks.gan.conditions import UNLABELLED
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError

LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 5


def png(labels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "png")
    return file.getvalue()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "labels").mkdir()
    Image.fromarray(LABELS).save(tmp_path / "labels" / "a.png")
    return tmp_path / "labels" / "a.png", save_photo(tmp_path / "styles" / "b.png", 30, 20)


def batches(labels, style, **options):
    return list(GivenPairs(8, 5).ask(labels, style, **options).batches(1))


def test_a_pair_is_prepared_as_its_files_are_for_predict(files):
    labels, style = files
    expected = PairsToPredict(labels.parent, style.parent, 8, 5)[0]
    (batch,) = batches(*files)
    assert torch.equal(batch["labels"], expected["labels"][None])
    assert torch.equal(batch["style"], expected["style"][None])


def test_conditions_that_are_pictures(files):
    source, style = save_photo(files[0].parent.parent / "edges" / "a.png"), files[1]
    expected = PairsToPredict(source.parent, style.parent, 8, None, 1)[0]
    (batch,) = GivenPairs(8, None, 1).ask(source, style).batches(1)
    assert torch.equal(batch["condition"], expected["condition"][None])


def test_one_goes_with_all_of_the_other_and_lists_go_together(files):
    labels, style = files
    assert len(batches([labels, labels, labels], style)) == 3
    assert len(batches(labels, [style, style])) == 2
    assert len(batches([labels, labels], [style, style])) == 2
    with pytest.raises(UserError, match="2 label maps and 3 styles"):
        batches([labels] * 2, [style] * 3)


def test_a_seed_goes_with_every_image_alone(files):
    asked = GivenPairs(8, 5).ask([LABELS] * 3, files[1], seed=4)
    assert [(len(batch["labels"]), batch["seed"]) for batch in asked.batches(16)] == [(1, 4)] * 3
    with pytest.raises(UserError, match="seed is 'a'"):
        GivenPairs(8, 5).ask(LABELS, files[1], seed="a")


@pytest.mark.parametrize(
    "given",
    [
        LABELS,
        LABELS.astype(np.int64),
        torch.from_numpy(LABELS),
        torch.from_numpy(LABELS)[None].long(),
        Image.fromarray(LABELS),
        io.BytesIO(png(LABELS)),
    ],
)
def test_label_maps_of_every_kind(given, files):
    assert np.array_equal(labels_of(given, "x", 5), LABELS)
    assert np.array_equal(labels_of(files[0], "x", 5), LABELS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (LABELS / 4, "type float64: give a path"),
        (np.dstack([LABELS, LABELS, LABELS[::-1]]), r"shape \(6, 8, 3\)"),
        (np.dstack([LABELS, LABELS]), r"shape \(6, 8, 2\)"),
        (LABELS[..., None][..., :0], r"shape \(6, 8, 0\)"),
        (LABELS + 1, "holds the labels 1, 2, 3, 4, 5, but there are 5 classes"),
        ([1, 2], "class list"),
    ],
)
def test_what_is_no_label_map(given, said):
    with pytest.raises(UserError, match=said):
        labels_of(given, "the label map", 5)


def test_files_that_are_no_label_maps(files, tmp_path):
    photo = io.BytesIO()
    Image.fromarray(LABELS).save(photo, "jpeg")
    (tmp_path / "cut.png").write_bytes(png(LABELS)[:-30])
    (tmp_path / "link.png").symlink_to("nowhere.png")
    for given, said in (
        (tmp_path / "gone.png", rf"there is no label map .*gone\.png: looked in {tmp_path}"),
        (str(tmp_path / "link.png"), r"link\.png is a link to nowhere\.png, which is not there"),
        (tmp_path, "is a folder: give its files"),
        ("x" * 5000, "has 5000 characters"),
        ("https://example.org/a.png", "is an address"),
        (photo, "the label map is a JPEG"),
        (io.BytesIO(b"text"), "cannot use the label map: its content is not an image"),
        (Image.open(tmp_path / "cut.png"), r"cannot use the label map \(.*cut\.png\): "),
    ):
        with pytest.raises(UserError, match=said):
            labels_of(given, "the label map", 5)


def test_data_say_how_they_prepare():
    data = FaceWorld(image_size=32)
    assert data.inputs == GivenPairs(32, data.classes)
    data = FaceWorld(image_size=32, ignore_label=255, keep_aspect=True)
    assert data.inputs == GivenPairs(32, data.classes, ignore_label=255, keep_aspect=True)


@pytest.mark.parametrize(
    "given", [np.dstack([LABELS] * 3), LABELS[..., None], LABELS[None], torch.from_numpy(LABELS)[None]]
)
def test_a_label_map_with_channels_is_one(given, files):
    (batch,) = batches(given, files[1])
    assert torch.equal(batch["labels"], batches(*files)[0]["labels"])


def test_channels_that_differ_are_no_label_map(files):
    with pytest.raises(UserError, match="the label map"):
        batches(np.dstack([LABELS, LABELS, LABELS[::-1]]), files[1])


def test_what_is_made_has_the_size_of_its_condition(files):
    (batch,) = batches([LABELS, LABELS[:3]], files[1])[:1]
    assert (batch["size"].tolist(), batch["window"].tolist()) == ([[6, 8]], [[0, 0, 8, 8]])
    (batch,) = GivenPairs(16, 5, keep_aspect=True).ask(LABELS, files[1]).batches(1)
    assert (batch["size"].tolist(), batch["window"].tolist()) == ([[6, 8]], [[0, 2, 16, 14]])
    assert (batch["labels"][0, 2:14:2, ::2].numpy() == LABELS).all()


@pytest.mark.parametrize("ignored", [255, -1, 4])
def test_pixels_without_a_label(files, ignored):
    given = np.where(LABELS == 2, ignored, LABELS.astype(np.int64))
    (batch,) = GivenPairs(8, 5, ignore_label=ignored).ask(given, files[1]).batches(1)
    expected = np.where(np.isin(LABELS, [2] if ignored != 4 else [2, 4]), UNLABELLED, LABELS)
    assert (batch["labels"][0].numpy() == resize_labels(expected.astype(np.uint8), 8)).all()


@pytest.mark.parametrize(
    ("classes", "said"), [(256, "256 classes leave no value of a byte"), (None, "pictures have no labels")]
)
def test_where_there_is_no_room_for_pixels_without_a_label(classes, said):
    with pytest.raises(UserError, match=f"ignore_label is 255, and .*{said}"):
        GivenPairs(8, classes, ignore_label=255)
    assert GivenPairs(8, classes).ignore_label is None
