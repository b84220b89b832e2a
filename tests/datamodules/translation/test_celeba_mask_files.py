from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError
from datamodules.common.label_maps import CELEBA_MASK_NAMES, merge_masks
from datamodules.translation.celeba_mask_files import CelebAFace, find_faces, read_mapping, read_partition
from tests.helpers.image_files import truncate
from tests.helpers.replicas_translation import FACE_BOXES, FACES, expected_label_map, make_celeba_mask_hq
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_celeba_mask_hq(tmp_path) / "CelebAMask-HQ"


def test_masks_lie_on_each_other_in_the_official_order(root):
    faces = find_faces(root, FACES)
    for face in faces:
        assert (merge_masks(face.masks) == expected_label_map(face.number)).all()
    labels = merge_masks(faces[0].masks)
    at = {(y, x): CELEBA_MASK_NAMES[labels[y, x]] for y, x in [(0, 0), (2, 8), (4, 8), (8, 8), (5, 3), (6, 4), (6, 11)]}
    assert at == {
        (0, 0): "hat",
        (2, 8): "hat",  # over hair and skin
        (4, 8): "hair",  # over skin
        (8, 8): "eye_g",  # over the nose
        (5, 3): "eye_g",
        (6, 4): "l_eye",  # over the glasses
        (6, 11): "r_eye",
    }


def test_faces_come_in_the_order_of_their_numbers_with_the_parts_that_are_there(root):
    faces = find_faces(root, FACES)
    assert [face.number for face in faces] == [7, 9, 10, 1999, 2000, 2001]
    for face in faces:
        names = {CELEBA_MASK_NAMES[label] for label in face.parts}
        assert names == set(FACE_BOXES[face.number])
        assert all(path.is_file() for path in (face.image, *face.masks.values()))


def test_the_folder_of_masks_changes_every_two_thousand_faces():
    assert CelebAFace(7, Path("x"), (1,)).masks[1] == Path("x/CelebAMask-HQ-mask-anno/0/00007_skin.png")
    assert CelebAFace(1999, Path("x"), (18,)).masks[18] == Path("x/CelebAMask-HQ-mask-anno/0/01999_cloth.png")
    assert CelebAFace(2000, Path("x"), (4,)).masks[4] == Path("x/CelebAMask-HQ-mask-anno/1/02000_l_eye.png")
    assert CelebAFace(29999, Path("x"), (4,)).masks[4] == Path("x/CelebAMask-HQ-mask-anno/14/29999_l_eye.png")


def test_a_mask_in_the_folder_of_other_faces_does_not_count(root):
    masks = root / "CelebAMask-HQ-mask-anno"
    (masks / "1" / "02001_skin.png").rename(masks / "0" / "02001_skin.png")
    with pytest.raises(DatasetNotFoundError, match=r"the masks of 1 faces, such as .*/1/02001_skin\.png"):
        find_faces(root, FACES)


def test_what_is_missing_is_named(root):
    (root / "CelebA-HQ-img" / "1999.jpg").unlink()
    (root / "CelebA-HQ-img" / "9.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"(?s)2 files: CelebA-HQ-img/9\.jpg, CelebA-HQ-img/1999\.jpg.*Ways"):
        find_faces(root, FACES)
    (root / "CelebA-HQ-img").rename(root / "images")
    with pytest.raises(DatasetNotFoundError, match=r"Missing: .*CelebA-HQ-img \(No such"):
        find_faces(root, FACES)


def test_a_folder_of_masks_that_is_missing_is_named(root):
    (root / "CelebAMask-HQ-mask-anno" / "1").rename(root / "1")
    with pytest.raises(DatasetNotFoundError, match=r"Missing: .*CelebAMask-HQ-mask-anno/1 "):
        find_faces(root, FACES)
    assert len(find_faces(root, FACES, with_masks=False)) == len(FACES)


def test_an_unknown_part_is_refused(root):
    masks = root / "CelebAMask-HQ-mask-anno" / "0"
    (masks / "00007_nose.png").rename(masks / "00007_beard.png")
    with pytest.raises(UserError, match=r"00007_beard\.png is of no known part.*skin, nose, eye_g"):
        find_faces(root, FACES)


def test_broken_masks_and_masks_of_another_size_are_named(root):
    face = find_faces(root, FACES)[0]
    path = face.masks[4]
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(path)
    with pytest.raises(UserError, match=r"00007_l_eye\.png has 16 x 8 pixels, other masks of the same face 16 x 16"):
        merge_masks(face.masks)
    truncate(path)
    with pytest.raises(UnreadableImageError, match=r"cannot read the mask .*00007_l_eye\.png"):
        merge_masks(face.masks)
    path.unlink()
    with pytest.raises(UnreadableImageError, match=r"00007_l_eye\.png"):
        merge_masks(face.masks)


@pytest.mark.parametrize("header", [True, False])
def test_the_mapping_is_read_with_any_blanks_and_with_or_without_header(tmp_path, header):
    root = make_celeba_mask_hq(tmp_path, header) / "CelebAMask-HQ"
    assert read_mapping(root) == {number: file for number, (file, _) in FACES.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 000002.jpg\n1 5\n", "entry 2: '1 5' is not"),
        ("0 1 000002.jpg\n0 5 000006.jpg\n", "entry 2: '0 5 000006.jpg' is not a new number"),
        ("0 1 000002.jpg\nidx orig_idx orig_file\n", "entry 2"),
        ("idx orig_idx orig_file\n\n", "lists no face"),
    ],
)
def test_a_damaged_mapping_is_refused(tmp_path, text, message):
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_mapping(tmp_path)


def test_the_partition_is_read_and_checked(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("000001.jpg 0\r\n000002.jpg   1\n\n000003.jpg 2")
    assert read_partition(path, tmp_path) == {"000001": "train", "000002": "val", "000003": "test"}
    path.write_text("000001.jpg 3\n")
    with pytest.raises(UserError, match=r"entry 1: '000001.jpg 3' is not a file and 0, 1 or 2"):
        read_partition(path, tmp_path)
    for missing in (read_mapping, lambda root: read_partition(tmp_path / "no.txt", root)):
        with pytest.raises(DatasetNotFoundError, match=r"(?s)Expected.*CelebA-HQ-img/0\.jpg.*Ways out"):
            missing(tmp_path)
