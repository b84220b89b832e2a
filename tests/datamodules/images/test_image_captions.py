import json

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.images.image_captions import CaptionedFiles, ImageCaptions, read_captions
from datamodules.images.image_folder import LabelledFiles
from tests.helpers.image_files import pixels, save_photo, truncate
from visionscapes.errors import UserError

PAIRS = [
    ("photos/b.jpg", "two dogs, one ball"),
    ("photos/a.png", 'a "red" car'),
    ("photos/b.jpg", "dogs at play"),
    ("c.jpg", "ein Hügel"),
]


def write_pairs(file, pairs=PAIRS, columns=("path", "caption")):
    rows = [columns, *pairs]
    if file.suffix == ".tsv":
        text = "\r\n".join("\t".join(row) for row in rows)
    elif file.suffix == ".csv":
        text = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows) + "\n"
    else:
        text = "\n\n".join(json.dumps(dict(zip(columns, pair, strict=True))) for pair in pairs)
    file.write_text(text, encoding="utf-8-sig")
    return file


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(["photos/a.png", "photos/b.jpg", "c.jpg", "photos/unnamed.jpg"]):
        save_photo(tmp_path / name, 40, 30, seed=seed)
    (tmp_path / "photos" / ".DS_Store").write_text("stray")
    write_pairs(tmp_path / "captions.tsv")
    return tmp_path


def ready(root, stage="fit", **options):
    settings = {"image_size": 16, "batch_size": 3, "num_workers": 0, "val_fraction": 0.0} | options
    data = ImageCaptions(str(root), **settings)
    data.setup(stage)
    return data


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".TSV"])
def test_every_kind_of_file_gives_the_same_pairs(tmp_path, suffix):
    file = write_pairs(tmp_path / f"x{suffix.lower()}").rename(tmp_path / f"x{suffix}")
    assert list(read_captions(file, "path", "caption")) == PAIRS
    file = write_pairs(tmp_path / "y.jsonl", columns=("filepath", "title"))
    assert list(read_captions(file, "filepath", "title")) == PAIRS


def test_a_batch_follows_the_interface(root):
    (batch,) = ready(root).train_dataloader()
    assert batch["task"] == "images"
    assert batch["image"].shape == (3, 3, 16, 16)
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert sorted(batch["index"].tolist()) == [0, 1, 2]
    assert batch["label"].tolist() == [-1] * 3
    assert batch["label"].dtype == torch.int64
    found = dict(zip(batch["index"].tolist(), batch["caption"], strict=True))
    assert found[0] == "ein Hügel"  # sorted paths: c.jpg, photos/a.png, photos/b.jpg
    assert found[1] == 'a "red" car'
    assert found[2] in ("two dogs, one ball", "dogs at play")


def test_training_draws_among_several_captions_and_validation_takes_the_first(root):
    data = ready(root, batch_size=1)
    dataset = data.train_dataloader().dataset
    assert {dataset[2, epoch]["caption"] for epoch in range(20)} == {"two dogs, one ball", "dogs at play"}
    assert dataset[2, 5]["caption"] == dataset[2, 5]["caption"]
    val = CaptionedFiles(data.part_to_predict(), data.captions, 16, True, training=False)
    assert {val[2]["caption"] for _ in range(20)} == {"two dogs, one ball"}


def gradient(path, width, height):
    """Write a picture whose grey value tells the place along its longer side."""
    ramp = np.linspace(0, 255, max(width, height)).round().astype(np.uint8)
    rows = np.tile(ramp, (height, 1)) if width > height else np.tile(ramp[:, None], (1, width))
    Image.fromarray(rows).save(path)


@pytest.mark.parametrize(("width", "height"), [(120, 30), (30, 120)])
def test_crops_are_squares_of_full_height_anywhere_along_the_longer_side(tmp_path, width, height):
    gradient(tmp_path / "x.png", width, height)
    captions = {tmp_path / "x.png": ["x"]}
    train = CaptionedFiles(LabelledFiles([tmp_path / "x.png"]), captions, 30, True, training=True)
    torch.manual_seed(0)
    starts = set()
    for _ in range(60):
        image = train[0]["image"][0]
        along = image[0] if width > height else image[:, 0]
        across = image[:, 0] if width > height else image[0]
        assert (across == across[0]).all()
        assert along[-1] - along[0] == pytest.approx(29 / 119, abs=0.02)  # a quarter of the length: not squeezed
        starts.add(round(float(along[0]) * 119))
    assert min(starts) < 15
    assert max(starts) > 75
    assert max(starts) <= 90
    middle = CaptionedFiles(LabelledFiles([tmp_path / "x.png"]), captions, 30, True, training=False)[0]["image"].mean()
    assert middle == pytest.approx(0.5, abs=0.01)


def test_a_square_image_is_only_resized(tmp_path):
    Image.fromarray(pixels(24, 24)).save(tmp_path / "x.png")
    captions = {tmp_path / "x.png": ["x"]}
    train, val = (
        CaptionedFiles(LabelledFiles([tmp_path / "x.png"]), captions, 24, True, training=t)[0] for t in (True, False)
    )
    assert torch.equal(train["image"], val["image"])
    assert torch.equal((train["image"] * 255).round().byte(), torch.from_numpy(pixels(24, 24)).permute(2, 0, 1))


def test_missing_images_and_empty_captions_are_left_out_and_counted(root, caplog):
    write_pairs(
        root / "captions.tsv", [*PAIRS, ("gone.jpg", "x"), ("photos/gone.jpg", "y"), ("photos/unnamed.jpg", " ")]
    )
    data = ready(root)
    assert [path.relative_to(root).as_posix() for path in data.train_set.paths] == [
        "c.jpg",
        "photos/a.png",
        "photos/b.jpg",
    ]
    assert "left out 2 of 6 images: they are missing, 2 files: gone.jpg, photos/gone.jpg" in caplog.text
    assert "left out 1 of 7 pairs: they have no caption" in caplog.text


def test_nothing_left_is_an_error(root):
    write_pairs(root / "captions.tsv", [("gone.jpg", "x")])
    with pytest.raises(DatasetNotFoundError, match=r"any of the 1 files: gone\.jpg"):
        ready(root)
    write_pairs(root / "captions.tsv", [])
    with pytest.raises(DatasetNotFoundError, match="a line with a caption"):
        ready(root)


def test_some_images_are_held_out(root):
    data = ready(root, val_fraction=0.3, batch_size=1)
    train, val = ({path.name for path in part.paths} for part in (data.train_set, data.val_set))
    assert train | val == {"a.png", "b.jpg", "c.jpg"}
    assert not train & val
    (loader,) = data.val_dataloader().values()
    assert all(batch["caption"][0] == data.captions[data.val_set.paths[batch["index"]]][0] for batch in loader)


def test_unreadable_images_can_be_left_out(root):
    truncate(root / "photos" / "b.jpg")
    data = ready(root, skip_unreadable=True)
    assert [path.name for path in data.train_set.paths] == ["c.jpg", "a.png"]
    assert [path.name for path in data.skipped] == ["b.jpg"]


def test_prediction_goes_through_the_images_with_captions(root):
    paths = [batch["path"][0] for batch in ready(root, "predict", predict_size=20).predict_dataloader()]
    assert paths == [str(root / name) for name in ("c.jpg", "photos/a.png", "photos/b.jpg")]


def test_the_file_is_found_named_or_asked_for(root, tmp_path_factory):
    write_pairs(root / "captions.csv", PAIRS[:1])
    with pytest.raises(UserError, match=r"captions\.tsv and captions\.csv: say which one.*--data\.init_args\.captions"):
        ready(root)
    assert len(ready(root, captions="captions.csv", batch_size=1).train_set) == 1
    elsewhere = write_pairs(tmp_path_factory.mktemp("elsewhere") / "pairs.jsonl", PAIRS[:2])
    assert len(ready(root, captions=str(elsewhere), batch_size=1).train_set) == 2
    with pytest.raises(DatasetNotFoundError, match=r"Missing: .*none\.tsv"):
        ready(root, captions="none.tsv")


def test_no_file_is_an_error_that_shows_the_three_kinds(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"one of captions\.tsv, captions\.csv, captions\.jsonl") as error:
        ready(tmp_path)
    for words in (str(tmp_path), "quoted where a caption holds one", "--data.init_args.path_column"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("captions.tsv", "filepath\ttitle\na\tb\n", r"no path and no caption, only filepath, title.*path_column"),
        ("captions.tsv", "path\tcaption\na\n", "pair 1 .* lacks its caption"),
        ("captions.jsonl", '{"path": "a"}', "no caption, only path"),
        ("captions.jsonl", '{"path": "a", "caption": "b"}\n[1]', "pair 2"),
        ("captions.jsonl", '{"path": "a", "caption": "b"}\n{oops', "cannot be read after 1 pairs"),
        ("captions.csv", b"path,caption\na,\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as error:
        ready(tmp_path)
    assert name in str(error.value)


def test_another_kind_of_file_is_refused(root):
    (root / "captions.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match=r"give a \.tsv, \.csv or \.jsonl file"):
        ready(root, captions="captions.parquet")


def test_workers_give_the_same_batches(root):
    alone, shared = (next(iter(ready(root, num_workers=n).train_dataloader())) for n in (0, 2))
    assert alone["caption"] == shared["caption"]
    assert torch.equal(alone["image"], shared["image"])
