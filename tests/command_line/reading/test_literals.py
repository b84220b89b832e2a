"""null reaches the arguments of nested classes, which jsonargparse alone would give the text "None"."""

import pytest
import yaml

import cli
from command_line.reading.literals import NoneIsNull


@pytest.fixture
def backbone(capsys):
    def arguments(*words: str) -> dict:
        with pytest.raises(SystemExit) as caught:
            cli.main(["fit", "--config=configs/lift.yaml", *words, "--print_config"])
        assert caught.value.code == 0
        return yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["backbone"]["init_args"]

    return arguments


@pytest.mark.parametrize("word", ["null", "None"])
@pytest.mark.parametrize(
    "key", ["init_args.backbone.init_args.weights", "backbone.init_args.weights", "backbone.weights"]
)
def test_null_of_a_nested_class(backbone, key, word):
    assert backbone(f"--model.{key}={word}")["weights"] is None


def test_null_inside_a_nested_value(backbone):
    assert backbone("--model.backbone.model_args={depth: 2, sizes: [null, 3]}")["model_args"] == {
        "depth": 2,
        "sizes": [None, 3],
    }


def test_other_values_of_a_nested_class_stay(backbone):
    found = backbone("--model.backbone.weights=None.pth", "--model.backbone.layer=-1", "--model.backbone.std=[1, 2, 3]")
    assert (found["weights"], found["layer"], found["std"]) == ("None.pth", -1, [1, 2, 3])


def test_files_keep_the_meaning_of_yaml():
    load = NoneIsNull(yaml.safe_load)
    assert load("weights: None\nlist:\n- None") == {"weights": "None", "list": ["None"]}
    assert load("None") is None
