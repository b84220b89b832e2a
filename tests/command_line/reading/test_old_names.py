import pytest
import yaml

import cli
from command_line.reading.literals import read_none_as_null
from command_line.reading.old_names import model_of, notices, read_old_names

DISCOVERY, GRIT = "--config=configs/gan_discovery.yaml", "--config=configs/grit.yaml"


@pytest.fixture(autouse=True)
def loader():
    read_none_as_null()


def printed(capsys, *words):
    """Return the options of the model that a command line comes to."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", *words, "--print_config"])
    assert caught.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([DISCOVERY], "GANDiscovery"),
        ([GRIT, "--config", "configs/paper/spade_256.yaml"], "SPADE"),
        ([GRIT, "--model=lightning_modules.Pix2PixHD"], "Pix2PixHD"),
        (["--model", "GRIT"], "GRIT"),
        (["--model.class_path=lightning_modules.GRIT"], "GRIT"),
        (["--model={class_path: lightning_modules.GRIT}"], "GRIT"),
        ([GRIT, "--config=configs/debug.yaml"], "GRIT"),
        ([], ""),
    ],
)
def test_the_class_of_the_module(words, name):
    assert model_of(["fit", *words]) == name


def test_words_are_renewed_and_told():
    words = [
        "fit",
        DISCOVERY,
        "--model.k=60",
        "--model.init_args.tau",
        "8",
        "--model.lr=1",
        "--data.k=3",
        "--model.k+=4",
    ]
    renewed, told = read_old_names(words)
    new = [
        "--model.stages.k=60",
        "--model.init_args.stages.tau",
        "8",
        "--model.lr=1",
        "--data.k=3",
        "--model.stages.k+=4",
    ]
    assert renewed == ["fit", DISCOVERY, *new]
    line = "note: options have moved into groups: k is stages.k now, tau is stages.tau now"
    assert notices(told, "GANDiscovery") == [line]


def test_old_and_new_words_come_to_the_same(capsys):
    old = ["--model.lambda_rec=7", "--model.discriminator=residual", "--model.stddev_group=null", "--model.lr", "0.5"]
    new = ["--model.lambda_rec=7", "--model.discriminator.architecture=residual"]
    new += ["--model.discriminator.stddev_group=null", "--model.optimizer.lr=0.5"]
    assert printed(capsys, GRIT, *old) == printed(capsys, GRIT, *new)


def test_files_with_old_names(tmp_path, capsys):
    """One that names its class, one that lies on top of another, and what is printed is read again."""
    whole, part = tmp_path / "whole.yaml", tmp_path / "part.yaml"
    data = {"class_path": "datamodules.FaceWorld"}
    old = {"class_path": "lightning_modules.GRIT", "init_args": {"base": 4, "discriminator": "residual", "r1": 3}}
    whole.write_text(yaml.safe_dump({"model": old, "data": data}))
    part.write_text(yaml.safe_dump({"model": {"init_args": {"most": 32, "generator": {"downs": 3}}}}))
    found = printed(capsys, f"--config={whole}", f"--config={part}")
    generator = found["generator"]
    assert (generator["base"], generator["most"], generator["downs"]) == (4, 32, 3)
    assert (found["discriminator"]["architecture"], found["adversarial"]["r1"]) == ("residual", 3.0)
    dotted = tmp_path / "dotted.yaml"
    dotted.write_text(yaml.safe_dump({"model.init_args.lr": 0.5}))
    in_one = '--model.init_args={"warmup": 3}'
    found_too = printed(capsys, f"--config={whole}", f"--config={dotted}", in_one)["optimizer"]
    assert (found_too["lr"], found_too["warmup"]) == (0.5, 3)
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump({"model": {**old, "init_args": found}, "data": data}))
    assert printed(capsys, f"--config={again}") == found


def test_an_old_and_a_new_name_in_one_file_are_told(tmp_path, capsys):
    both = tmp_path / "both.yaml"
    both.write_text("model: {init_args: {tau: 3, k: 9, stages: {tau: 5}}}")
    with pytest.raises(SystemExit):
        cli.main(["fit", DISCOVERY, f"--config={both}", "--trainer.max_epochs=-5"])
    assert "tau is stages.tau now, which is given too and counts, k is stages.k now\n" in capsys.readouterr().out
    assert printed(capsys, DISCOVERY, f"--config={both}")["stages"]["tau"] == 5


def test_another_class_leaves_out_options_in_groups_that_it_does_not_have(capsys):
    found = printed(capsys, GRIT, "--model=SPADE")
    assert (found["generator"]["base"], found["optimizer"]["ema"], found["image_size"]) == (16, 0.99, 64)
    assert "most" not in found["generator"]
    with pytest.raises(SystemExit):
        cli.main(["fit", GRIT, "--model=SPADE", "--trainer.max_epochs=-5"])
    assert "note: SPADE has no generator.most, generator.downs, which are left out" in capsys.readouterr().out


def test_a_group_has_no_such_option(tmp_path, capsys):
    more = tmp_path / "more.yaml"
    more.write_text("model: {class_path: lightning_modules.GRIT, init_args: {generator: {mostt: 3}}}")
    with pytest.raises(SystemExit):
        cli.main(["fit", GRIT, f"--config={more}"])
    assert "--model.generator has no option 'mostt': did you mean most?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.stages.tua=3", "error: unknown option --model.stages.tua: did you mean --model.stages.tau?"),
        ("--model.tau=0", "GANDiscovery.stages.tau is 0; it has to be at least 1"),
        ("--model.network.dropout=1", "GANDiscovery.network.dropout is 1.0; it has to be at least 0 and below 1"),
        ("--model.rounds=0", "GANDiscovery.rounds is 0; it has to be at least 1"),
        ("--model.stages=null", "error: --model.stages is null: give some of its options, or leave it out"),
        ("--data={class_path: Clips, init_args: {root: x, faces: null}}", "error: --data.faces is null: give some"),
        ("--model.stages.tau=abc", "error: model.stages.tau: 'abc' is not int"),
        ("--model.stages.merging=7", "error: model.stages.merging: '7' is not bool"),
    ],
)
def test_mistakes_are_told_in_one_line(word, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", DISCOVERY, word, f"--runs_dir={tmp_path}"])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
