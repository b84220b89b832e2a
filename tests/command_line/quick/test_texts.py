import pytest

from command_line.quick.texts import columns, duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (25_300_000_000, "25.3 GB"),
        (5e15, "5e+03 TB"),
    ],
)
def test_size(count, text):
    assert size(count) == text


def test_columns_stand_below_one_another_and_no_line_is_broken():
    long = "x" * 300
    lines = columns(["name", "count"], [["a [b]", "1"], [long, "20"]], right=["count"]).splitlines()
    assert lines[0].startswith("name ")
    assert [line.split() for line in lines[2:]] == [["a", "[b]", "1"], [long, "20"]]
    assert len(lines[0]) == len(lines[2]) == len(lines[3]), "numbers end alike"
    assert columns(["", ""], [["a", "b"]]).split() == ["a", "b"]
