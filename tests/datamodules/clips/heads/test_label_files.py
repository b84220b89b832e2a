import pickle

import numpy as np
import pytest
from PIL import Image

from datamodules.clips.heads.label_files import LabelFiles, files_of, merged
from datamodules.clips.heads.label_orders import FACE_PARSING
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.label_maps import CELEBA_MASK_NAMES, FACE_PARTS, resize_labels
from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.heads import render_head
from visionscapes.errors import UserError

EXACT = render_head(0, 1, [0], 64).labels[0]


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return path


def test_maps_of_frames(tmp_path):
    save(tmp_path / "a/x" / "00003.png", EXACT)
    save(tmp_path / "a/x" / "7.png", EXACT[::-1])
    save(tmp_path / "a/x" / "preview.png", EXACT)
    maps = LabelFiles(tmp_path)
    assert maps.frames("a/x") == {3, 7}
    assert maps.frames("a/y") == set()
    assert np.array_equal(maps.read("a/x", 3, 64), EXACT)
    assert np.array_equal(maps.read("a/x", 7, 32), resize_labels(np.ascontiguousarray(EXACT[::-1]), 32))
    assert np.array_equal(pickle.loads(pickle.dumps(maps)).read("a/x", 3, 64), EXACT)


def test_masks_of_the_parts(tmp_path):
    for label, name in enumerate(FACE_PARTS, 1):
        if (label == EXACT).any():
            save(tmp_path / "x" / f"00012_{name}.png", 255 * (label == EXACT))
    maps = LabelFiles(tmp_path)
    assert maps.frames("x") == {12}
    assert np.array_equal(maps.read("x", 12, 64), EXACT)


def test_a_parser_with_another_order(tmp_path):
    to_theirs = np.array([FACE_PARSING.index(name) for name in CELEBA_MASK_NAMES], np.uint8)
    save(tmp_path / "x" / "0.png", to_theirs[EXACT])
    assert np.array_equal(LabelFiles(tmp_path, "face-parsing").read("x", 0, 64), EXACT)
    assert not np.array_equal(LabelFiles(tmp_path).read("x", 0, 64), EXACT)


def test_numbers_beyond_the_order_are_refused(tmp_path):
    save(tmp_path / "x" / "0.png", np.where(EXACT == Label.HAIR, 20, EXACT))
    with pytest.raises(UserError, match=r"0\.png holds 20, for which celebamask-hq has no class.*label_order"):
        LabelFiles(tmp_path).read("x", 0, 64)


def test_two_passes_are_merged_as_in_the_authors_code(tmp_path):
    coarse, fine = np.zeros((4, 4), np.uint8), np.zeros((8, 8), np.uint8)
    coarse[0, :2] = Label.HAIR
    coarse[3] = Label.CLOTH, Label.NECK, Label.NECK, Label.SKIN
    coarse[1, 3] = Label.NOSE
    fine[0, :] = Label.HAIR  # of which that of the small picture counts alone
    fine[:2, 2:4] = Label.HAT  # over hair
    fine[2:4, :2] = Label.SKIN
    fine[6:, 2:4] = Label.NECK_L  # under neck
    save(tmp_path / "256/x" / "0.png", coarse)
    save(tmp_path / "512/x" / "0.png", fine)
    save(tmp_path / "512/x" / "1.png", fine)
    maps = LabelFiles(tmp_path)
    assert maps.frames("x") == {0}, "both passes have it"
    expected = np.zeros((4, 4), np.uint8)
    expected[0] = Label.HAIR, Label.HAT, 0, 0
    expected[1, 0] = Label.SKIN
    expected[3] = Label.CLOTH, Label.NECK, Label.NECK, 0
    assert np.array_equal(maps.read("x", 0, 4), expected)


def test_merging_a_map_with_itself_changes_only_what_neck_and_cloth_hide():
    together = merged(EXACT, EXACT)
    assert np.array_equal(together, EXACT)


def test_files_that_contradict_or_are_of_no_part_are_refused(tmp_path):
    save(tmp_path / "x" / "0.png", EXACT)
    save(tmp_path / "x" / "0_hair.png", EXACT)
    with pytest.raises(UserError, match="has a map and masks of parts"):
        files_of(tmp_path / "x")
    save(tmp_path / "y" / "0_fur.png", EXACT)
    with pytest.raises(UserError, match="of no known part"):
        files_of(tmp_path / "y")


def test_a_map_of_another_shape_is_refused(tmp_path):
    save(tmp_path / "x" / "0.png", EXACT[:32])
    with pytest.raises(UserError, match="aspect ratios differ"):
        LabelFiles(tmp_path).read("x", 0, 64)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)label maps.*heads\.pictures"):
        LabelFiles(tmp_path / "none")
