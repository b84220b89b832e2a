import logging

import pytest

from datamodules.common.reports import compare_count, first_names, listed, report_left_out
from visionscapes.errors import UserError


def test_names_for_messages_are_few_and_relative(tmp_path):
    paths = [tmp_path / f"{k}.jpg" for k in range(5)]
    assert first_names(paths, tmp_path) == "5 files: 0.jpg, 1.jpg, 2.jpg, ..."
    assert first_names(paths[:1], tmp_path / "elsewhere") == f"1 files: {paths[0]}"


def test_another_number_than_published_is_told(caplog):
    with caplog.at_level(logging.INFO):
        compare_count("Set", "pictures", 5, 5)
        assert caplog.messages == []
        compare_count("Set", "pictures", 4, 5)
        compare_count("Set", "pictures", 6, 5)
    assert caplog.messages == ["Set has 4 pictures here, 5 as published", "Set has 6 pictures here, 5 as published"]


def test_what_is_left_out_is_counted_and_told(caplog):
    report_left_out("Set", 0, "pictures", 9, "too small")
    assert caplog.messages == []
    report_left_out("Set", 2, "pictures", 9, "too small")
    assert caplog.messages == ["Set: left out 2 of 9 pictures: too small"]


@pytest.mark.parametrize(("first", "lines"), [(True, 2), (False, 0)])
def test_one_process_of_several_tells_it(monkeypatch, caplog, first, lines):
    monkeypatch.setattr("visionscapes.processes.is_first", lambda: first)
    compare_count("Set", "pictures", 4, 5)
    report_left_out("Set", 2, "pictures", 9, "too small")
    assert len(caplog.messages) == lines


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"list\.txt is no list of text lines"):
        listed(tmp_path / "list.txt")


def test_a_list_has_an_entry_a_line_whatever_the_line_ends(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a\r\n b c \n\n\td\n   \ne")
    assert listed(tmp_path / "list.txt") == ["a", "b c", "d", "e"]
