import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.dense.spair import SPair71k, draw
from tests.helpers.replicas import make_spair
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_spair(tmp_path)


def ready(root, **options):
    data = SPair71k(str(root), num_workers=0, **options)
    data.setup("test")
    return data


def batches(data):
    return {name: list(loader) for name, loader in data.test_dataloader().items()}


def test_pairs_are_the_listed_ones_in_their_order(root):
    data = ready(root)
    assert [pair.name.split("-")[0] for pair in data.pairs] == ["000009", "10", "000011", "000012", "000013"]
    assert [pair.category for pair in data.pairs] == ["cat", "cat", "aeroplane", "aeroplane", "cat"]
    assert data.categories == ["aeroplane", "cat"]
    data.setup("test")
    assert len(data.pairs) == 5


def test_a_pair_by_hand(root):
    data = ready(root, image_sizes=[40])
    sample = data.dataset(40)[0]
    # The source is 80 x 50: scale 1/2, 40 x 25, 15 rows left over; the target 40 x 64: scale 5/8, 25 x 40.
    assert sample["source_keypoints"].tolist() == [[0, 7], [39.5, 31.5], [20, 19.5]]
    assert sample["target_keypoints"].tolist() == [[7, 0], [31.375, 39.375], [19.5, 19.375]]
    assert sample["target_box_size"] == 30 * 5 / 8  # the target's box, not the larger one of the source
    assert sample["category"] == 1
    source = sample["source_image"]
    assert source.shape == sample["target_image"].shape == (3, 40, 40)
    assert source[:, :7].max() == source[:, 32:].max() == 0
    image = Image.open(root / "JPEGImages" / "cat" / "2008_000002.jpg").resize((40, 25), Image.Resampling.LANCZOS)
    assert torch.equal(source[:, 7:32], torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255)
    # The grey target becomes RGB.
    assert torch.equal(sample["target_image"][0], sample["target_image"][2])


def test_collation_pads_keypoints_and_marks_the_padding(root):
    found = batches(ready(root, image_sizes=[32, 40], batch_size=4))
    assert list(found) == ["keypoints@32", "keypoints@40"]
    first, second = found["keypoints@40"]
    assert first["task"] == "keypoints"
    assert first["source_keypoints"].shape == first["target_keypoints"].shape == (4, 3, 2)
    assert first["keypoint_valid"].tolist() == [[True] * 3] * 2 + [[True, False, False]] * 2
    assert first["keypoint_valid"].dtype == torch.bool
    assert not first["source_keypoints"][2, 1:].any()
    assert first["category"].tolist() == [1, 1, 0, 0]
    assert first["category"].dtype == torch.int64
    assert first["target_box_size"].dtype == torch.float32
    assert first["pair"][1] == "10-2008_000001-2008_000002:cat"
    assert len(second["pair"]) == 1
    assert found["keypoints@32"][0]["source_image"].shape == (4, 3, 32, 32)


def test_names_with_an_underscore_in_the_list_are_found_too(root):
    layout = root / "Layout" / "large" / "test.txt"
    layout.write_text(layout.read_text().replace(":", "_"))
    assert [pair.category for pair in ready(root).pairs] == ["cat", "cat", "aeroplane", "aeroplane", "cat"]


def test_small_layout_and_other_split(tmp_path, root):
    assert len(ready(root, layout="small").pairs) == 1
    shutil.rmtree(root)
    assert len(ready(make_spair(tmp_path, "trn"), split="trn").pairs) == 5


def test_draws(root):
    pairs = ready(root).pairs
    assert draw(pairs, 0, False, 0) == pairs
    distinct = draw(pairs, 2, False, 0)
    assert [pair.category for pair in distinct] == ["aeroplane"] * 2 + ["cat"] * 2
    assert len({pair.name for pair in distinct}) == 4
    assert len(draw(pairs, 100, False, 0)) == 5
    official = [pair.name for pair in draw(pairs, 6, True, 0)]
    assert len(official) == 12
    assert len(set(official)) < 12
    # The official code seeds numpy once and then draws from category after category.
    np.random.seed(0)
    by_category = [[pair.name for pair in pairs if pair.category == category] for category in ("aeroplane", "cat")]
    assert official == [name for names in by_category for name in np.random.choice(names, 6)]
    assert official != [pair.name for pair in draw(pairs, 6, True, 1)]
    assert len(ready(root, pairs_per_category=6, sampling="official").pairs) == 12


def test_fewer_pairs_than_published_are_a_warning(root, caplog):
    with caplog.at_level(logging.WARNING):
        ready(root)
    assert "5 pairs here, 12234 as published" in caplog.text


@pytest.mark.parametrize("part", ["JPEGImages", "PairAnnotation", "Layout/large/test.txt"])
def test_a_missing_part_is_named(root, part):
    shutil.rmtree(root / part) if (root / part).is_dir() else (root / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=part) as error:
        ready(root)
    message = str(error.value)
    assert str(root) in message
    assert "Layout/{large,small}/{trn,val,test}.txt" in message
    assert "--data.init_args.root" in message
    assert "SPair-71k.tar.gz" in message


def test_a_missing_annotation_is_named(root):
    next((root / "PairAnnotation" / "test").glob("000011*")).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"000011-2008_000003-2008_000004:aeroplane\.json"):
        ready(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "unpack the data set again"),
        ("[]", "unpack the data set again"),
        ('{"category": "cat"}', "src_kps.*unpack the data set again"),
        (
            '{"src_kps": [[1, 2]], "trg_kps": [[1, 2], [3, 4]], "src_imname": "a.jpg", "trg_imname": "b.jpg"}',
            "unpack the data set again",
        ),
        (
            '{"src_kps": [[1, 2]], "trg_kps": [[3, 4]], "src_imname": "a.jpg", "trg_imname": "b.jpg",'
            ' "category": "cat", "trg_bndbox": [0, 0, 9, 9], "mirror": 1}',
            "mirrored images",
        ),
    ],
)
def test_a_damaged_or_foreign_annotation_is_an_error_that_names_it(root, content, message):
    path = min((root / "PairAnnotation" / "test").glob("[!.]*.json"))
    path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        ready(root)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("sizes", [[], [0], [32, 32]])
def test_image_sizes_have_to_make_sense(root, sizes):
    with pytest.raises(UserError, match="image_sizes"):
        SPair71k(str(root), image_sizes=sizes)


def test_there_is_nothing_to_train_on(root):
    with pytest.raises(UserError, match=r"cli\.py test"):
        ready(root).train_dataloader()


def test_workers_give_the_same_batches(root):
    data = ready(root, image_sizes=[32], batch_size=2)
    alone = batches(data)["keypoints@32"]
    data.num_workers = 2
    for one, other in zip(alone, batches(data)["keypoints@32"], strict=True):
        assert one["pair"] == other["pair"]
        assert torch.equal(one["target_image"], other["target_image"])
