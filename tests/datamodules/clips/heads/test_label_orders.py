import pytest

from datamodules.clips.heads.label_orders import FACE_PARSING, UNKNOWN, order_table
from datamodules.common.label_maps import CELEBA_MASK_NAMES
from datamodules.procedural.faces.canvas import Label
from visionscapes.errors import UserError


def test_the_order_of_the_data_set_changes_nothing():
    table = order_table("celebamask-hq")
    assert table[:19].tolist() == list(range(19))
    assert (table[19:] == UNKNOWN).all()


def test_the_order_of_face_parsing():
    assert sorted(FACE_PARSING) == sorted(CELEBA_MASK_NAMES)
    table = order_table("face-parsing")
    pairs = {0: Label.BACKGROUND, 1: Label.SKIN, 2: Label.L_BROW, 6: Label.EYE_G, 10: Label.NOSE, 14: Label.NECK}
    pairs |= {15: Label.NECK_L, 16: Label.CLOTH, 17: Label.HAIR, 18: Label.HAT}
    assert {number: table[number] for number in pairs} == pairs


def test_a_file_may_leave_classes_out_and_give_one_several_numbers(tmp_path):
    file = tmp_path / "order.txt"
    file.write_text("0 background\n1   skin\r\n7 hair\n8 hair\n\n")
    table = order_table(str(file))
    assert table[[0, 1, 7, 8]].tolist() == [0, Label.SKIN, Label.HAIR, Label.HAIR]
    assert (table == UNKNOWN).sum() == 252


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("17 fur", "entry 1: '17 fur' is not a number"),
        ("x hair", "is not"),
        ("255 hair", "is not a number up to 254"),
        ("3 hair\n3 hat", "entry 2: 3 has a class already"),
    ],
)
def test_other_lines_are_refused(tmp_path, content, said):
    (tmp_path / "order.txt").write_text(content)
    with pytest.raises(UserError, match=said):
        order_table(str(tmp_path / "order.txt"))


def test_an_unknown_order_is_refused():
    with pytest.raises(UserError, match=r"no order of labels called bisenet.*choose celebamask-hq or face-parsing"):
        order_table("bisenet")
