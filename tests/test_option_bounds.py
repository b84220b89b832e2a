"""What an option may be stands in its annotation; anything else is refused before anything is built."""

import inspect

import pytest

import cli
from tests.helpers.option_values import exported_classes, options, outside, valid, without_bounds
from visionscapes.checks import check_value
from visionscapes.errors import UserError

CLASSES = exported_classes()
REFUSALS = [
    pytest.param(cls, name, id=f"{cls.__name__}.{name}")
    for cls in CLASSES
    for name, annotation in options(cls).items()
    if next(outside(annotation), None) is not None
]


def required(cls: type) -> dict:
    """Return values for the options that have no default."""
    parameters = inspect.signature(cls).parameters
    return {
        name: valid(annotation)
        for name, annotation in options(cls).items()
        if name in parameters and parameters[name].default is inspect.Parameter.empty
    }


@pytest.mark.parametrize(("cls", "option"), REFUSALS)
def test_values_outside_the_bounds_are_refused(cls, option):
    given = required(cls)
    for value in outside(options(cls)[option]):
        with pytest.raises(UserError) as caught:
            cls(**given | {option: value})
        assert str(caught.value).startswith(f"{cls.__name__}.{option} is {value!r}; "), caught.value


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_number_has_bounds(cls):
    assert [name for name, annotation in options(cls).items() if without_bounds(annotation)] == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_defaults_are_within_their_bounds(cls):
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.default is not inspect.Parameter.empty and name in options(cls):
            check_value(name, parameter.default, options(cls)[name])


@pytest.mark.parametrize(
    ("config", "words", "line"),
    [
        ("lift", ["--model.lr=-1"], "LiFT.lr is -1.0; it has to be above 0"),
        ("lift", ["--model.backbone.mean=[0.5]"], "ViTFeatures.mean is [0.5]; it has to be a list of 3 values"),
        ("lift", ["--data.image_sizes=[]"], "SceneWorld.image_sizes is []; it has to be a list of 1 or more different"),
        ("lift", ["--data.image_sizes+=0"], "SceneWorld.image_sizes is [32, 64, 128, 0]; each of its values has to be"),
        ("lift", ["--checkpoint.save_top_k=-2"], "Checkpointing.save_top_k is -2; it has to be at least -1"),
        (
            "lift",
            ["--trainer.callbacks+=callbacks.SampleGrid", "--trainer.callbacks.images=0"],
            "SampleGrid.images is 0; it has to be at least 1",
        ),
        ("gan_discovery", ["--model.stages.k=0"], "GANDiscovery.stages.k is 0; it has to be at least 2"),
        ("sparsedet", ["--model.warmup_steps=-1"], "SparseDet.warmup_steps is -1; it has to be at least 0"),
        (
            "sparsedet",
            ["--data.second_view.init_args.lighting=-1"],
            "SecondView.lighting is -1.0; it has to be at least 0",
        ),
    ],
)
def test_the_command_line_ends_with_one_line_and_status_2(tmp_path, capsys, config, words, line):
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", f"--config=configs/{config}.yaml", f"--runs_dir={tmp_path}", *words])
    assert end.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"error: {line}")


def test_the_classes_that_options_are_made_of_are_tried_too():
    assert {"BYOLViews", "SecondView", "KMeansTokens", "AnalysedViT", "CoMining"} <= {cls.__name__ for cls in CLASSES}
    assert {"lr", "tau_ppm"} <= set(options(next(cls for cls in CLASSES if cls.__name__ == "SparseDet")))
