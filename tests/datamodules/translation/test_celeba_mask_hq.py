import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError
from datamodules.common.label_maps import CELEBA_MASK_NAMES, flip_labels, resize_labels
from datamodules.translation import celeba_mask_hq
from datamodules.translation.celeba_mask_hq import CelebAMaskHQ, main
from datamodules.translation.pictures import image_tensor
from tests.helpers.image_files import save_photo, truncate
from tests.helpers.replicas_translation import FACES, expected_label_map, make_celeba_mask_hq, make_label_map
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return make_celeba_mask_hq(tmp_path_factory.mktemp("celeba"))


@pytest.fixture
def own(tmp_path):
    return make_celeba_mask_hq(tmp_path)


def faces(root, stage="fit", **options):
    data = CelebAMaskHQ(str(root), **({"image_size": 8, "batch_size": 2, "num_workers": 0} | options))
    data.setup(stage)
    return data


def names(loader):
    return [name for batch in loader for name in batch["name"]]


def test_a_batch_follows_the_interface(shared):
    data = faces(shared)
    (batch,) = data.train_dataloader()
    assert batch.keys() == {"task", "image", "labels", "name"}
    assert batch["task"] == "translation"
    assert (batch["image"].shape, batch["image"].dtype) == ((2, 3, 8, 8), torch.float32)
    assert (batch["labels"].shape, batch["labels"].dtype) == ((2, 8, 8), torch.uint8)
    assert sorted(batch["name"]) == ["10", "7"]
    assert (data.classes, data.label_names) == (19, CELEBA_MASK_NAMES)


def test_the_parts_are_those_of_celeba_up_to_their_boundaries(shared):
    data = faces(shared)
    assert [data.train_set[index]["name"] for index in range(2)] == ["7", "10"]  # numbers, not text
    assert names(data.val_dataloader()) == ["1999", "2000"]
    assert names(faces(shared, "test").test_dataloader()) == ["9", "2001"]
    assert names(faces(shared / "CelebAMask-HQ", "validate").val_dataloader()) == ["1999", "2000"]


@pytest.mark.parametrize("size", [8, 16, 20])
def test_images_and_label_maps_are_resized_to_one_size(shared, size):
    sample = faces(shared, image_size=size).train_set[0]
    assert (sample["labels"].numpy() == resize_labels(expected_label_map(7), size)).all()
    stored = Image.open(shared / "CelebAMask-HQ" / "CelebA-HQ-img" / "7.jpg")
    assert stored.size == (32, 32)
    assert torch.equal(sample["image"], image_tensor(stored, size))


def test_a_label_map_of_a_single_label_is_served(shared):
    data = faces(shared, "test")
    assert (data.test_set[1]["labels"] == CELEBA_MASK_NAMES.index("skin")).all()


def test_flips_exchange_left_and_right_parts(shared):
    plain, flipped = faces(shared, image_size=16), faces(shared, image_size=16, flip=True)
    dataset = flipped.train_dataloader().dataset
    turned = 0
    for epoch in range(12):
        for index in range(2):
            still, seen = plain.train_set[index], dataset[index, epoch]
            turn = not torch.equal(still["image"], seen["image"])
            turned += turn
            assert torch.equal(seen["image"], still["image"].flip(-1) if turn else still["image"])
            assert torch.equal(seen["labels"], flip_labels(still["labels"]) if turn else still["labels"])
    assert 4 <= turned <= 20
    face = flip_labels(torch.from_numpy(expected_label_map(7)))
    assert CELEBA_MASK_NAMES[face[6, 4]] == "l_eye"  # the viewer's left stays left


def test_the_published_counts_are_compared_on_the_full_set_only(shared, monkeypatch, caplog):
    faces(shared)
    assert not caplog.records
    monkeypatch.setattr(celeba_mask_hq, "FACES", len(FACES))
    monkeypatch.setattr(celeba_mask_hq, "PUBLISHED", {"train": 2, "val": 3, "test": 2})
    faces(shared)
    (record,) = caplog.records
    assert record.getMessage() == "CelebAMask-HQ has 2 faces in its val part here, 3 as published"


def test_the_partition_may_lie_elsewhere(own):
    file = own / "CelebAMask-HQ" / "list_eval_partition.txt"
    moved = file.rename(own / "list.txt")
    with pytest.raises(DatasetNotFoundError, match=r"Missing: .*list_eval_partition\.txt"):
        faces(own)
    assert len(faces(own, partition=str(moved)).train_set) == 2
    moved.write_text("162770.jpg 0\n")
    with pytest.raises(UserError, match=r"list\.txt does not list 202599\.jpg, which is face 9"):
        faces(own, partition=str(moved))


def test_a_missing_data_set_says_where_it_was_looked_for_and_the_ways_out(tmp_path):
    message = (
        r"(?s)Looked in: .*nowhere.*Expected:.*CelebA-HQ-img/0\.jpg.*1\. .*init_args\.root.*2\. .*CelebAMask-HQ\.zip"
    )
    with pytest.raises(DatasetNotFoundError, match=message):
        faces(tmp_path / "nowhere")


def test_a_corrupt_image_ends_the_run_with_its_name(own):
    truncate(own / "CelebAMask-HQ" / "CelebA-HQ-img" / "2000.jpg", 0.3)
    with pytest.raises(UnreadableImageError, match=r"2000\.jpg"):
        list(faces(own).val_dataloader())


def test_an_image_that_is_no_square_does_not_fit_its_masks(own):
    save_photo(own / "CelebAMask-HQ" / "CelebA-HQ-img" / "7.jpg", 32, 24)
    with pytest.raises(UserError, match=r"7\.jpg has 32 x 24 pixels.*aspect"):
        faces(own).train_set[0]


def test_predicting_combines_folders_or_the_first_test_faces(shared, tmp_path):
    for name in ("a", "b"):
        make_label_map(tmp_path / "labels" / f"{name}.png", 16, 16, 19)
    save_photo(tmp_path / "styles" / "s.jpg")
    folders = {"labels": str(tmp_path / "labels"), "styles": str(tmp_path / "styles")}
    (batch,) = faces("nowhere", "predict", **folders).predict_dataloader()
    assert (batch["task"], batch["name"]) == ("predict", ["a__s", "b__s"])
    assert names(faces(shared, "predict").predict_dataloader()) == ["9__9", "9__2001", "2001__9", "2001__2001"]
    with pytest.raises(UserError, match=r"give both --data.init_args.labels and --data.init_args.styles"):
        faces(shared, "predict", labels=folders["labels"])


def test_the_command_writes_what_the_loader_merges(own, tmp_path, capsys):
    merged = tmp_path / "new" / "merged"
    assert main([str(own), str(merged), "--workers", "2"]) == 0
    assert "6 label maps written, 0 were there" in capsys.readouterr().out
    assert sorted(path.name for path in merged.iterdir()) == sorted(f"{number}.png" for number in FACES)
    for number in FACES:
        with Image.open(merged / f"{number}.png") as image:
            assert image.mode == "L"
            assert (np.asarray(image) == expected_label_map(number)).all()
    (own / "CelebAMask-HQ" / "CelebAMask-HQ-mask-anno").rename(own / "away")  # the masks are not needed any more
    data = faces(own, merged=str(merged), image_size=16)
    assert (data.train_set[0]["labels"].numpy() == expected_label_map(7)).all()


def test_the_command_goes_on_where_it_stopped(own, tmp_path, capsys):
    merged = tmp_path / "merged"
    assert main([str(own), str(merged), "--workers", "1"]) == 0
    (merged / "7.png").write_bytes(b"stays")
    (merged / "2000.png").unlink()
    (merged / ".9.png.1.partial").write_bytes(b"left over")
    capsys.readouterr()
    assert main([str(own), str(merged), "--workers", "1"]) == 0
    assert "1 label maps written, 5 were there" in capsys.readouterr().out
    assert (merged / "7.png").read_bytes() == b"stays"
    assert (merged / "2000.png").is_file()


def test_errors_of_the_command_have_status_2(own, tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "merged")]) == 2
    assert "CelebAMask-HQ was not found" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()
    assert main([str(own), str(tmp_path / "merged"), "--workers", "0"]) == 2
    (tmp_path / "file").write_text("")
    assert main([str(own), str(tmp_path / "file")]) == 2
    truncate(own / "CelebAMask-HQ" / "CelebAMask-HQ-mask-anno" / "1" / "02000_skin.png")
    assert main([str(own), str(tmp_path / "merged"), "--workers", "2"]) == 2
    assert "02000_skin.png" in capsys.readouterr().err
    assert not (tmp_path / "merged" / "2000.png").exists()


@pytest.mark.slow  # imports everything anew
def test_the_command_runs_as_a_program(own, tmp_path):
    command = [sys.executable, "-m", "datamodules.celeba_mask_hq", str(own), str(tmp_path / "merged")]
    here = Path(__file__).parents[3]
    subprocess.run([*command, "--workers", "1"], check=True, cwd=here, env=os.environ, capture_output=True)
    assert len(list((tmp_path / "merged").iterdir())) == len(FACES)


def test_merged_label_maps_have_to_be_complete_and_in_range(own, tmp_path):
    merged = tmp_path / "merged"
    with pytest.raises(DatasetNotFoundError, match=r"(?s)6 files: 7\.png.*python -m datamodules\.celeba_mask_hq"):
        faces(own, merged=str(merged))
    for number in FACES:
        make_label_map(merged / f"{number}.png", 16, 16, 21)
    with pytest.raises(UserError, match=r"7\.png holds the labels .*19 classes"):
        faces(own, merged=str(merged)).train_set[0]
