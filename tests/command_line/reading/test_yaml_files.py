import pytest
import yaml

from command_line.reading.yaml_files import check_file, check_text
from visionscapes.errors import UserError

LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9))])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer:\n\tmax_steps: 1", "line 2, column 1.*indent with spaces"),
        ("trainer: {max_steps: 1}\ndata: x\ntrainer: 5", "trainer is given twice, in lines 1 and 3"),
        ("model:\n  lr: 1\n  lr: 2", "lr is given twice, in lines 2 and 3"),
        ("trainer: &a {callbacks: *a}", "line 1: .*anchor .* contains itself"),
        (LAUGHS, "more than 100000 values"),
        ("a: ${b}\nb: ['${c}']\nc: " + "${d.e}" * 400 + "\nd: {e: " + "x" * 400 + "}", "more than 100000 letters"),
        ("a: " + "[" * 5000, "no valid YAML"),
        ("[1, 2]", "no configuration"),
        ("5", "no configuration"),
        ("", "no configuration"),
        ("just words", "no configuration"),
        ("5: 6", "line 1: '5' is no name"),
        ("null: 6", "is no name"),
        ("a: 1\n---\nb: 2", "single document"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: [1, 2", "line 1"),
        ("a: 2020-13-45", "no valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, words):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        check_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_of_other_kinds(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        check_file(tmp_path)
    path = tmp_path / "some.yaml"
    for content in ("trainer: {}".encode("utf-16"), bytes(range(128, 256))):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no text in UTF-8"):
            check_file(path)
    path.write_bytes(b"#" * (2**22 + 1))
    with pytest.raises(UserError, match="more than 4 MiB"):
        check_file(path)


def test_anchors_and_merges_are_welcome(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: *a\nd: {<<: *a, <<: *a}\ne: ${a.x} ${e} ${nothing}\n")
    check_file(path)
    assert check_text("") is None


def test_the_shipped_configurations_pass():
    from pathlib import Path

    paths = list(Path("configs").glob("**/*.yaml"))
    assert paths
    for path in paths:
        check_file(path)
        assert yaml.safe_load(path.read_text()) is not None
