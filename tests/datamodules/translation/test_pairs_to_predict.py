import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize, to_tensor

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.label_maps import read_labels, resize_labels
from datamodules.translation.pairs_to_predict import AllPairs, PairsToPredict, Seeded
from datamodules.translation.pictures import condition_tensor, image_tensor
from networks.gan.conditions import UNLABELLED
from tests.helpers.image_files import pixels, save_photo
from tests.helpers.replicas_translation import make_label_map


def make_folders(root, labels=("b", "a"), styles=("2.png", "10.png", "deep/7.jpg")):
    for name in labels:
        make_label_map(root / "labels" / f"{name}.png", 12, 9)
    for seed, name in enumerate(styles):
        save_photo(root / "styles" / name, 14, 10, seed=seed)
    return root / "labels", root / "styles"


def test_every_label_map_meets_every_style(tmp_path):
    labels, styles = make_folders(tmp_path)
    pairs = PairsToPredict(labels, styles, 8, 4)
    samples = [pairs[index] for index in range(len(pairs))]
    assert [each["name"] for each in samples] == ["a__10", "a__2", "a__7", "b__10", "b__2", "b__7"]
    for sample in samples:
        source, style = sample["name"].split("__")
        stored = resize_labels(read_labels(labels / f"{source}.png", 4), 8)
        assert sample["labels"].dtype == torch.uint8
        assert (sample["labels"].numpy() == stored).all()
        file = styles / ("deep/7.jpg" if style == "7" else f"{style}.png")
        assert torch.equal(sample["style"], image_tensor(Image.open(file), 8))


def test_a_batch_to_predict_follows_the_interface(tmp_path):
    pairs = PairsToPredict(*make_folders(tmp_path, styles=("x.png",)), 8, 4)  # a single style
    batch = next(iter(DataLoader(pairs, batch_size=2, collate_fn=PairsToPredict.collate, num_workers=1)))
    assert batch.keys() == {"task", "labels", "style", "name", "size", "window"}
    assert (batch["size"].tolist(), batch["window"].tolist()) == ([[9, 12]] * 2, [[0, 0, 8, 8]] * 2)
    assert (batch["task"], batch["name"]) == ("predict", ["a__x", "b__x"])
    assert (batch["labels"].shape, batch["labels"].dtype) == ((2, 8, 8), torch.uint8)
    assert (batch["style"].shape, batch["style"].dtype) == ((2, 3, 8, 8), torch.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_conditions_come_in_place_of_label_maps_without_classes(tmp_path, channels):
    _, styles = make_folders(tmp_path)
    pairs = PairsToPredict(styles, styles, 8, None, channels)
    assert len(pairs) == 9
    assert "labels" not in pairs[0]
    assert pairs[0]["condition"].shape == (channels, 8, 8)
    assert 0 <= pairs[0]["condition"].min() <= pairs[0]["condition"].max() <= 1


def test_style_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    labels, styles = make_folders(tmp_path, styles=())
    styles.mkdir()
    stored = np.zeros((8, 8, 3), np.uint8)
    stored[:4] = 255
    Image.fromarray(stored).save(styles / "x.png", exif=exif)
    style = PairsToPredict(labels, styles, 8, 4)[0]["style"]
    assert (style[:, :4] == 0).all()
    assert (style[:, 4:] == 1).all()


@pytest.mark.parametrize(("folder", "option"), [("labels", "labels"), ("styles", "styles")])
@pytest.mark.parametrize("empty", [True, False])
def test_an_empty_or_missing_folder_is_an_error_with_a_remedy(tmp_path, folder, option, empty):
    make_folders(tmp_path)
    (tmp_path / folder).rename(tmp_path / "elsewhere")
    if empty:
        (tmp_path / folder).mkdir()
    with pytest.raises(DatasetNotFoundError, match=f"(?s){tmp_path / folder}.*--data.init_args.{option}"):
        PairsToPredict(tmp_path / "labels", tmp_path / "styles", 8, 4)


def test_files_of_one_name_get_names_of_their_own(tmp_path):
    labels, styles = make_folders(tmp_path, styles=("x.png", "deep/x.jpg", "X.png", "y.png"))
    pairs = PairsToPredict(labels, styles, 8, 4)
    assert [name for name, _ in pairs.styles] == ["X.png", "deep-x.jpg", "x.png-2", "y"]
    assert [path.name for _, path in pairs.styles] == ["X.png", "x.jpg", "x.png", "y.png"]


def test_either_side_may_be_a_file_a_pattern_or_a_list(tmp_path):
    labels, styles = make_folders(tmp_path, labels=("a", "b", "c"), styles=("x.png", "y.png"))
    pairs = PairsToPredict(str(labels / "[ab].png"), str(styles / "y.png"), 8, 4)
    assert [pairs[index]["name"] for index in range(len(pairs))] == ["a__y", "b__y"]
    pairs = PairsToPredict([str(labels / "c.png"), str(labels / "a.png")], str(styles), 8, 4)
    assert [pairs[index]["name"] for index in range(len(pairs))] == ["c__x", "c__y", "a__x", "a__y"]
    assert (pairs.files, pairs.root) == (4, labels)


def test_images_are_resized_as_torchvision_does_with_antialiasing():
    image = Image.fromarray(pixels(30, 40))
    reference = to_tensor(resize(image, [16, 16], InterpolationMode.BICUBIC, antialias=True))
    assert torch.equal(image_tensor(image, 16), reference)
    assert torch.equal(condition_tensor(image, 16, 3), reference)
    grey = resize(image.convert("L"), [16, 16], InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(condition_tensor(image, 16, 1), to_tensor(grey))


def sample(number, **more):
    generator = torch.Generator().manual_seed(number)
    image = torch.rand(3, 4, 4, generator=generator)
    return {"image": image, "name": str(number), "labels": torch.full((4, 4), number, dtype=torch.uint8)} | more


def test_all_pairs_combine_the_first_samples():
    pairs = AllPairs([sample(number) for number in range(5)], 3)
    assert [pairs[index]["name"] for index in range(len(pairs))] == [f"{a}__{b}" for a in range(3) for b in range(3)]
    assert pairs[5].keys() == {"labels", "style", "name"}  # 5 = 1 * 3 + 2
    assert (pairs[5]["labels"] == 1).all()
    assert torch.equal(pairs[5]["style"], sample(2)["image"])
    assert len(AllPairs([sample(0), sample(1)], 10)) == 4


def test_pairs_whose_label_maps_have_sizes_say_them():
    class Sized(list):
        def size_of(self, position):
            return 7 + position, 5

    pairs = AllPairs(Sized([sample(0), sample(1)]))
    assert pairs[2].keys() == {"labels", "style", "name", "size", "window"}
    assert (pairs[2]["size"].tolist(), pairs[2]["window"].tolist()) == ([5, 8], [0, 0, 4, 4])


def test_pixels_without_a_label_and_label_maps_that_keep_their_aspect(tmp_path):
    labels, styles = make_folders(tmp_path, labels=("a",), styles=("x.png",))
    stored = read_labels(labels / "a.png", 4)
    pairs = PairsToPredict(labels, styles, 12, 4, ignore_label=2)
    assert torch.equal(pairs[0]["labels"] == UNLABELLED, torch.from_numpy(resize_labels(stored, 12) == 2))
    kept = PairsToPredict(labels, styles, 12, 4, keep_aspect=True)[0]  # 12 x 9 pixels
    assert kept["window"].tolist() == [0, 1, 12, 10]
    assert (kept["labels"][1:10].numpy() == stored).all()
    assert (kept["labels"][0].numpy() == stored[0]).all()
    assert (kept["labels"][10:].numpy() == stored[-1]).all()


def test_a_seed_depends_on_the_pair_and_the_draw_alone():
    samples = [{"name": name, "style": torch.zeros(3, 2, 2)} for name in ("a__x", "b__x")]
    both, alone = Seeded(3, 0)(samples), Seeded(2, 0)(samples[1:])
    assert (both["task"], both["seeds"].shape, both["seeds"].dtype) == ("predict", (2, 3), torch.int64)
    assert torch.equal(alone["seeds"][0], both["seeds"][1, :2])
    assert len(set(both["seeds"].flatten().tolist() + Seeded(3, 1)(samples)["seeds"].flatten().tolist())) == 12
