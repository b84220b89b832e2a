import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torchvision import transforms

from datamodules.analysis.revisited_retrieval import RevisitedRetrieval, prepared, truncated_images
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError, read_image
from tests.helpers.image_files import save_photo, truncate
from tests.helpers.replicas_vit import make_retrieval
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_retrieval(tmp_path)


def ready(root, **options):
    settings = {"datasets": ["roxford5k"], "image_size": 16, "batch_size": 2, "num_workers": 0} | options
    data = RevisitedRetrieval(str(root), **settings)
    data.setup("test")
    return data


def batches(root, **options):
    return {name: list(loader) for name, loader in ready(root, **options).test_dataloader().items()}


def test_the_database_comes_in_the_order_of_the_ground_truth(root):
    found = batches(root)
    assert list(found) == ["retrieval-database@16", "retrieval-queries@16"]
    database = found["retrieval-database@16"]
    assert [len(batch["image"]) for batch in database] == [2, 2, 1]
    assert torch.cat([batch["index"] for batch in database]).tolist() == list(range(5))
    assert {(batch["task"], batch["dataset"]) for batch in database} == {("retrieval-database", "ROxford5k")}
    assert [path.stem[-3:] for path in ready(root).benchmarks["roxford5k"].database] == [
        "013",
        "002",
        "101",
        "007",
        "055",
    ]


def test_queries_know_what_is_relevant_and_empty_lists_are_places_too(root):
    (batch,) = batches(root)["retrieval-queries@16"]
    assert (batch["task"], batch["dataset"], batch["index"].tolist()) == ("retrieval-queries", "ROxford5k", [0, 1])
    assert batch["image"].shape == (2, 3, 16, 16)
    assert [found.tolist() for found in batch["easy"]] == [[4, 0], []]
    assert [found.tolist() for found in batch["hard"]] == [[2], [3]]
    assert [found.tolist() for found in batch["junk"]] == [[1], []]
    assert {found.dtype for key in ("easy", "hard", "junk") for found in batch[key]} == {torch.int64}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_way_to_write_the_ground_truth(tmp_path, protocol):
    root = make_retrieval(tmp_path, protocol=protocol)
    assert [query.relevant["easy"].tolist() for query in ready(root).benchmarks["roxford5k"].queries] == [[4, 0], []]


def test_the_names_of_numpy_1_are_understood(root):
    path = root / "roxford5k" / "gnd_roxford5k.pkl"
    text = pickle.dumps(pickle.loads(path.read_bytes()), protocol=0)
    assert b"numpy._core" in text
    path.write_bytes(text.replace(b"numpy._core", b"numpy.core"))
    assert ready(root).benchmarks["roxford5k"].queries[0].relevant["easy"].tolist() == [4, 0]


def test_pictures_are_reduced_and_then_prepared_as_the_official_code_does(root):
    path = root / "roxford5k" / "jpg" / "all_souls_000013.jpg"  # 60 x 90
    image = Image.open(path).convert("RGB")
    image.thumbnail((16, 16), Image.Resampling.LANCZOS)
    steps = [transforms.Resize(16, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(16)]
    expected = transforms.Compose([*steps, transforms.ToTensor()])(image)
    assert torch.equal(batches(root)["retrieval-database@16"][0]["image"][0], expected)


def test_queries_can_be_cut_to_their_boxes(root):
    whole, cut = (batches(root, crop_queries=crop)["retrieval-queries@16"][0]["image"] for crop in (False, True))
    path = root / "roxford5k" / "jpg" / "_bodleian_000108.jpg"
    assert torch.equal(whole[1], prepared(path, 16))
    assert torch.equal(cut[1], prepared(path, 16, (0.0, 0.0, 30.0, 20.0)))
    assert not torch.equal(whole[1], cut[1])
    Image.open(path).crop((0, 0, 30, 20)).save(path.with_suffix(".png"))
    assert torch.equal(cut[1], prepared(path.with_suffix(".png"), 16))


def test_a_picture_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    path = save_photo(tmp_path / "x.jpg", 64, 64)
    whole = prepared(path, 64)
    broken = prepared(truncate(path, 0.8), 64)
    assert torch.equal(broken[:, :16], whole[:, :16])
    assert not torch.equal(broken[:, 48:], whole[:, 48:])


def test_pillow_stays_strict_for_everybody_else(tmp_path):
    path = truncate(save_photo(tmp_path / "x.jpg", 64, 64))
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    assert not before
    prepared(path, 8)
    with pytest.raises(UnreadableImageError):
        read_image(path)
    path.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError):
        prepared(path, 8)
    assert before == ImageFile.LOAD_TRUNCATED_IMAGES
    with truncated_images():
        assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_both_data_sets_have_loaders_of_their_own(tmp_path):
    make_retrieval(tmp_path, "rparis6k")
    found = batches(make_retrieval(tmp_path), datasets=["rparis6k", "roxford5k"])
    assert list(found) == [
        f"retrieval-{kind}@16/{name}" for name in ("ROxford5k", "RParis6k") for kind in ("database", "queries")
    ]
    for name, of_name in found.items():
        assert {batch["dataset"] for batch in of_name} == {name.partition("/")[2]}


def test_a_single_data_set_may_be_the_root_itself(root):
    assert len(batches(root / "roxford5k")["retrieval-database@16"]) == 3


class Malicious:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(("call", "argument"), [(os.mkdir, "hacked"), (eval, "open('hacked', 'w')"), (np.load, "x")])
def test_a_pickle_that_would_run_code_is_refused(root, monkeypatch, protocol, call, argument):
    monkeypatch.chdir(root)
    path = root / "roxford5k" / "gnd_roxford5k.pkl"
    content = pickle.loads(path.read_bytes())
    content["gnd"][0]["easy"] = Malicious(call, argument)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(UserError, match=f"it asks for .*{call.__name__}.*get the original file"):
        ready(root)
    assert not (root / "hacked").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["gnd"][0].update(hard=[5]), "a place outside of the 5 pictures, 0 to 4"),
        (lambda content: content["gnd"][0].update(hard=[-1]), "a place outside of the 5 pictures"),
        (lambda content: content["gnd"][0].update(hard=[1.5]), "a place outside"),
        (lambda content: content["gnd"][0].pop("junk"), "junk"),
        (lambda content: content["gnd"].pop(), "original file"),
        (lambda content: content["gnd"][0].update(bbx=[1, 2, 3]), "boxes"),
        (lambda content: content.pop("imlist"), "imlist"),
    ],
)
def test_a_damaged_ground_truth_is_named(root, change, message):
    path = root / "roxford5k" / "gnd_roxford5k.pkl"
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        ready(root)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps([1, 2]), b"\x80\x04."])
def test_a_file_of_another_kind_is_named(root, content):
    (root / "roxford5k" / "gnd_roxford5k.pkl").write_bytes(content)
    with pytest.raises(UserError, match="is not the ground truth of roxford5k"):
        ready(root)


@pytest.mark.parametrize("part", ["gnd_roxford5k.pkl", "jpg/all_souls_000007.jpg", "jpg/_bodleian_000108.jpg"])
def test_a_missing_part_is_named(root, part):
    (root / "roxford5k" / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"Missing: .*{part}") as error:
        ready(root)
    message = str(error.value)
    assert str(root) in message
    assert "--data.init_args.root" in message
    assert "filipradenovic/revisitop" in message


def test_fewer_pictures_than_published_are_a_warning(root, caplog):
    ready(root)
    assert "ROxford5k has 5 pictures in the database here, 4993 as published" in caplog.text
    assert "ROxford5k has 2 queries here, 70 as published" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [({"datasets": ["oxford5k"]}, "one of roxford5k, rparis6k"), ({"image_size": 0}, "image_size is 0")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        RevisitedRetrieval("x", **options)


def test_workers_give_the_same_batches(root):
    alone, shared = (batches(root, num_workers=n)["retrieval-queries@16"][0] for n in (0, 1))
    assert torch.equal(alone["image"], shared["image"])
    assert [each.tolist() for each in alone["easy"]] == [each.tolist() for each in shared["easy"]]
