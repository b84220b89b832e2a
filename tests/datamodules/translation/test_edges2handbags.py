import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError
from datamodules.translation.edges2handbags import Edges2Handbags, cut
from tests.helpers.image_files import save_photo, truncate
from tests.helpers.replicas_translation import make_edges2handbags
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_edges2handbags(tmp_path_factory.mktemp("pix2pix"))


def edges(root, stage="fit", **options):
    data = Edges2Handbags(str(root), **({"image_size": 16, "batch_size": 2, "num_workers": 0} | options))
    data.setup(stage)
    return data


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_follows_the_interface(root, channels):
    data = edges(root, channels=channels)
    (batch, _) = data.train_dataloader()
    assert batch.keys() == {"task", "image", "condition", "name"}
    assert batch["task"] == "translation"
    assert (batch["image"].shape, batch["image"].dtype) == ((2, 3, 16, 16), torch.float32)
    assert (batch["condition"].shape, batch["condition"].dtype) == ((2, channels, 16, 16), torch.float32)
    assert isinstance(batch["name"], list)
    assert (data.classes, data.label_names) == (None, None)


@pytest.mark.parametrize("flip", [False, True])
def test_dark_edges_and_bright_photographs_are_not_mixed(root, flip):
    for batch in edges(root, flip=flip).train_dataloader():
        assert batch["condition"].max() < 0.3 < 0.7 < batch["image"].min()


def test_an_odd_width_is_cut_at_its_half_rounded_down():
    columns = np.arange(7, dtype=np.uint8)[None].repeat(2, 0)
    left, right = cut(Image.fromarray(columns))
    assert np.asarray(left)[0].tolist() == [0, 1, 2]
    assert np.asarray(right)[0].tolist() == [3, 4, 5, 6]


def test_files_come_in_the_order_of_their_names_as_text(root):
    data = edges(root)
    assert [data.train_set[index]["name"] for index in range(4)] == ["100", "10", "1", "2"]
    (batch,) = data.val_dataloader()
    assert batch["name"] == ["10", "2"]


def test_the_test_is_on_the_validation_part(root):
    (batch,) = edges(root, "test").test_dataloader()
    assert batch["name"] == ["10", "2"]
    (again,) = edges(root, "validate").val_dataloader()
    assert torch.equal(batch["image"], again["image"])


def test_the_folder_above_will_do(root):
    assert len(edges(root.parent).train_set) == 4


def test_a_flip_keeps_the_sides_paired(root):
    """Photographs rise to the right, edges fall: one flip turns both."""
    data = edges(root, flip=True, batch_size=1)
    seen = set()
    dataset = data.train_dataloader().dataset
    for epoch in range(10):
        for index in range(4):
            sample = dataset[index, epoch]
            rises = [
                bool(each[..., -1].mean() > each[..., 0].mean()) for each in (sample["image"], sample["condition"])
            ]
            assert rises[0] != rises[1]
            seen.add(rises[0])
    assert seen == {True, False}
    assert all(data.val_set[index]["image"][0, 0, -1] > data.val_set[index]["image"][0, 0, 0] for index in range(2))


def test_predicting_combines_folders_or_the_first_pairs(root, tmp_path):
    for name in ("a", "b"):
        save_photo(tmp_path / "conditions" / f"{name}.png")
    save_photo(tmp_path / "styles" / "s.jpg")
    folders = {"conditions": str(tmp_path / "conditions"), "styles": str(tmp_path / "styles")}
    (batch,) = edges("nowhere", "predict", **folders).predict_dataloader()
    assert (batch["task"], batch["name"], batch["condition"].shape) == ("predict", ["a__s", "b__s"], (2, 1, 16, 16))
    batches = list(edges(root, "predict").predict_dataloader())
    assert [name for batch in batches for name in batch["name"]] == ["10__10", "10__2", "2__10", "2__2"]
    with pytest.raises(UserError, match=r"give both --data.init_args.conditions and --data.init_args.styles"):
        edges(root, "predict", styles=folders["styles"])


def test_a_missing_folder_says_where_it_was_looked_for_and_the_ways_out(tmp_path):
    save_photo(tmp_path / "train" / "1_AB.jpg", 40, 20)
    with pytest.raises(DatasetNotFoundError, match=r"(?s)Looked in: .*val\n.*1_AB\.jpg.*init_args\.root.*tar\.gz"):
        edges(tmp_path)


def test_a_corrupt_file_ends_the_run_with_its_name(tmp_path):
    make_edges2handbags(tmp_path)
    truncate(tmp_path / "edges2handbags" / "val" / "2_AB.jpg", 0.4)
    with pytest.raises(UnreadableImageError, match=r"2_AB\.jpg"):
        list(edges(tmp_path).val_dataloader())


def test_a_file_that_is_not_side_by_side_is_refused(tmp_path):
    for part in ("train", "val"):
        save_photo(tmp_path / part / "1_AB.jpg", 20, 20)
    with pytest.raises(UserError, match=r"1_AB\.jpg has 20 x 20 pixels"):
        list(edges(tmp_path).val_dataloader())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels is 2"),
        ({"image_size": 0}, "image_size is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        Edges2Handbags("x", **options)
