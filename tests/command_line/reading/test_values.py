import pytest
from jsonargparse import Namespace

from command_line.reading.values import check_values, with_values, without_value
from visionscapes.errors import UserError


def test_a_lone_option_means_true():
    words = ["fit", "--resume", "--trainer.fast_dev_run", "--model.lr", "-1e-3", "--name", "x", "--model.noise"]
    given, bare = with_values(words)
    assert given == [
        *("fit", "--resume=true", "--trainer.fast_dev_run=true", "--model.lr", "-1e-3", "--name", "x"),
        "--model.noise=true",
    ]
    assert bare == ["resume", "trainer.fast_dev_run", "model.noise"]


def test_what_prints_and_what_has_its_own_message_stays():
    words = ["fit", "--print_config", "--model.help", "--config", "-c", "--trainer.callbacks+=X", "--", "extra"]
    assert with_values(words) == (words, [])


def test_an_option_that_is_no_flag_needs_a_value():
    message = "Parser key \"trainer.max_epochs\":\n  Expected a <class 'int'>. Got value: true"
    with pytest.raises(UserError, match=r"--trainer\.max_epochs needs a value: int"):
        without_value(message, ["trainer.max_epochs"])
    assert without_value(message, ["trainer.min_epochs"]) == message


def config(**changed):
    groups = {"trainer": Namespace(callbacks=None, logger=None), "checkpoint": Namespace()}
    model = Namespace(class_path="M", init_args=Namespace(weights="true", noise=True))
    return Namespace(**groups | {"seed_everything": 0, "model": model, "runs_dir": "runs"} | changed)


def test_a_word_that_was_not_given():
    check_values(config(), ["model.noise"])
    for option in ("model.weights", "model.init_args.weights"):
        with pytest.raises(UserError, match=f"--{option} needs a value"):
            check_values(config(), [option])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"lr": None}, "--model.lr is null; it has to be float"), ({"width": None}, "--model.width is null; .* int")],
)
def test_null_in_place_of_a_number(arguments, words):
    path = "tests.helpers.tiny.TinyModule"
    with pytest.raises(UserError, match=words):
        check_values(config(model=Namespace(class_path=path, init_args=Namespace(**arguments))), [])
    check_values(config(model=Namespace(class_path=path, init_args=Namespace(bad_step=None))), [])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"trainer": [1, 2]}, r"trainer is \[1, 2\]; it has to hold options by name"),
        ({"checkpoint": 5}, "checkpoint is 5; it has to hold options by name"),
        ({"runs_dir": ""}, "--runs_dir is empty"),
        ({"ckpt_path": " "}, "--ckpt_path is empty"),
        ({"seed_everything": -1}, "--seed_everything is -1"),
        (
            {"trainer": Namespace(callbacks=[Namespace(class_path="pytorch_lightning.Callback")])},
            "trainer.callbacks has an entry that names no class",
        ),
    ],
)
def test_values_of_the_command_line(changed, words):
    with pytest.raises(UserError, match=words):
        check_values(config(**changed), [])
