"""Hundreds of inputs that make no sense, through the real entry point and in one process.

Each ends with status 2 and one line that names what is wrong; what was saved before stays, and no folder is left.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from command_line.reading.trainer_options import TRAINER_OPTIONS
from tests.helpers.option_values import options, outside
from tests.helpers.survival import REPOSITORY

TINY = ["--model=tests.helpers.tiny.TinyModule", "--data=tests.helpers.tiny.TinyData", "--trainer.accelerator=cpu"]
BRIEF = ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
CONFIGS = (
    *("lift", "grit", "gan_discovery", "sparsedet", "vit_analysis", "detector", "supervision/mae", "syncnet"),
    "diff2lip",
)


def trainer_values() -> Iterator[tuple[str, str]]:
    """Options of the Trainer with what their table refuses, and with words where it wants numbers."""
    for option, annotation in TRAINER_OPTIONS.items():
        wrong = {type(each): each for each in outside(annotation) if each not in (0, 0.5)}
        for value in [*wrong.values(), "{a: 1}"]:
            yield f"--trainer.{option}={value}".replace("nan", ".nan").replace("inf", ".inf"), f"trainer.{option}"


WORDS = [
    *trainer_values(),
    *((f"--trainer.devices={each}", "trainer.devices") for each in ("0", "-3", "abc", "1000000000", "[]", "[0,0]")),
    *((f"--trainer.accelerator={each}", "trainer.accelerator") for each in ("abacus", "", "5", "[]")),
    *((f"--trainer.strategy={each}", "trainer.strategy") for each in ("dpp", "{a: 1}", "deep speed")),
    *((f"--trainer.precision={each}", "trainer.precision") for each in ("31", "bf17", "-16", ".nan")),
    *((f"--trainer.val_check_interval={each}", "val_check_interval") for each in ("0", "-1", "1.5", "soon", "1000000")),
    *((f"--trainer.max_time={each}", "max_time") for each in ("abc", "5", "{a: 1}", "{days: -1}", "-1")),
    *((f"--trainer.profiler={each}", "profiler") for each in ("nope", "5")),
    *((f"--trainer.deterministic={each}", "deterministic") for each in ("perhaps", "5")),
    *((f"--trainer.plugins={each}", "plugins") for each in ("5", "nope", "callbacks.Complexity")),
    *((f"--trainer={each}", "trainer") for each in ("[1,2]", "5", "null", "nowhere.yaml")),
    *((f"--checkpoint={each}", "checkpoint") for each in ("[1,2]", "5", "null")),
    *((f"--checkpoint.save_top_k={each}", "save_top_k") for each in ("-2", "many", "1.5")),
    *((f"--checkpoint.{each}", each.partition("=")[0]) for each in ("mode=maximal", "every_n_epochs=-1", "nope=3")),
    *((f"--seed_everything={each}", "seed_everything") for each in ("-1", "abc", "4294967296", "1.5", "[]")),
    *((f"--name={each}", "--name") for each in ("", "a/b", "..", " ", "a\nb", "/")),
    *((f"--runs_dir={each}", "--runs_dir") for each in ("", "cli.py", "cli.py/x", "/proc/nowhere")),
    *((f"--ckpt_path={each}", "") for each in ("", "nowhere.ckpt", "configs", "cli.py", "pyproject.toml")),
    *((f"--resume={each}", "resume") for each in ("maybe", "5")),
    *((f"--test_after_fit={each}", "test_after_fit") for each in ("maybe", "[]")),
    *((f"--model={each}", "model") for each in ("5", "", "null", "[]", "nowhere.Model", "callbacks.Complexity")),
    *((f"--model={each}", "model") for each in ("torch.nn.Linear", "datamodules.FaceWorld", "os.system", "{a: 1}")),
    *((f"--model={each}", "model") for each in ("GRITT", "lightning_modules.lift", "cli.py", "lightning_modules.")),
    *((f"--data={each}", "data") for each in ("5", "null", "[]", "nowhere.Data", "lightning_modules.LiFT", "FaceWrld")),
    *((f"--model.lr={each}", "model.lr") for each in ("abc", "[]", "{a: 1}", "null")),
    *((f"--data.{each}", "data") for each in ("batch_size=abc", "batch_sise=3", "root.x=3")),
    *((f"--{each}", re.split("[.=]", each)[0]) for each in ("optimizer=SGD", "optimizer.lr=3", "lr_scheduler=StepLR")),
    *((f"--{each}", each.partition("=")[0]) for each in ("modle=3", "trainer.max_epoch=3", "conifg=x", "a.b.c=3")),
    *((f"--trainer.callbacks={each}", "callbacks") for each in ("5", "[5]", "[null]", "{a: 1}", "[torch.nn.Linear]")),
    *((f"--trainer.callbacks+={each}", "callbacks") for each in ("5", "ResultTabel", "LiFT", "{class_path: 5}", "")),
    *((f"--trainer.callbacks+={each}", "needs") for each in ("EarlyStopping", "WeightAverging", "LambdaCallbck")[:1]),
    *((f"--trainer.logger={each}", "logger") for each in ("5", "[5]", "Wandb", "callbacks.Complexity")),
    *((f"--trainer.logger={each}Logger", "needs") for each in ("CSV", "MLFlow", "TensorBoard")),
    *((f"--config={each}", each) for each in ("nowhere.yaml", "configs", "cli.py", "/dev/null", "README.md")),
    *((f"--config={each}", "config") for each in ("", "configs/lift.yml", "configs/list.yaml")),
]
LONE = ["--model.lr", "--name", "--trainer.max_epochs", "--config", "--ckpt_path", "--model", "--trainer", "extra", ""]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The repository with a folder of runs that holds one run already, and an environment without a cluster."""
    monkeypatch.chdir(REPOSITORY)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "WANDB_", "TORCHELASTIC", "RANK"))]:
        monkeypatch.delenv(name)
    earlier = tmp_path / "runs" / "tinymodule" / "earlier" / "checkpoints" / "last.ckpt"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("precious")
    return tmp_path


@pytest.fixture
def refused(place, capsys):
    def check(args: list[str], *patterns: str) -> None:
        runs = [] if any(word.startswith("--runs_dir") for word in args) else [f"--runs_dir={place / 'runs'}"]
        before, here = inside(place / "runs"), set(REPOSITORY.iterdir())
        with pytest.raises(SystemExit) as caught:
            cli.main([*args, *runs])
        error = capsys.readouterr().err
        assert caught.value.code == 2, error
        assert "Traceback" not in error
        lines = [line for line in error.splitlines() if not line.startswith(("Seed set", "GPU", "TPU"))]
        assert lines, "nothing is told"
        assert re.match(r"error( on rank \d+)?: ", lines[0]), error
        assert len(lines) <= 12, error
        assert len(lines[0]) < 600
        for pattern in patterns:
            assert pattern in error, f"{pattern!r} is not in {error}"
        assert inside(place / "runs") == before
        assert set(REPOSITORY.iterdir()) == here

    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield check
    for each, handler in handlers.items():
        signal.signal(each, handler)


def inside(folder: Path) -> dict[Path, Any]:
    """What the runs of every method hold."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.glob("*/**/*")}


def test_there_are_hundreds_of_them():
    count = len(WORDS) + len(LONE) + len(FILES) + len(ENVIRONMENTS) + len(COMMANDS) + len(METHODS) + len(OF_METHODS)
    assert count >= 300


@pytest.mark.parametrize(("word", "named"), WORDS, ids=[word for word, _ in WORDS])
def test_a_word(refused, word, named):
    refused(["fit", *TINY, *BRIEF, word], named)


@pytest.mark.parametrize("word", LONE)
def test_a_word_without_a_value(refused, word):
    refused(["fit", *TINY, *BRIEF, word], word)


FILES = {
    "empty": "",
    "tabs": "model:\n\tclass_path: x",
    "twice": "trainer: {max_steps: 1, max_steps: 2}",
    "UTF-16": "trainer: {max_steps: 1}".encode("utf-16"),
    "binary": bytes(range(256)),
    "itself": "trainer: &a {callbacks: *a}",
    "itself in a class": "model: &a\n  class_path: tests.helpers.tiny.TinyModule\n  init_args: *a\n",
    "itself in a list": "&a [*a]",
    "laughs": "\n".join(["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12))]),
    "laughs in words": "\n".join(
        ["a0: " + "x" * 100, *(f"a{k}: " + f"${{a{k - 1}}}" * 10 for k in range(1, 12)), "name: ${a11}"]
    ),
    "deep": "a: " + "[" * 3000,
    "list": "- 1",
    "number": "5",
    "words": "just words",
    "tag": "trainer: !!python/object/apply:os.system ['true']",
    "documents": "a: 1\n---\nb: 2",
    "unclosed": "trainer: {max_steps: [1",
    "quote": "trainer: 'x",
    "null byte": "trainer: {max_steps: '\0'}",
    "date": "trainer: {max_steps: 2020-01-01}",
    "number as key": "5: 6",
    "null as key": "null: 6",
    "itself by ${}": "trainer: {max_steps: '${trainer.max_steps}'}",
    "nothing by ${}": "trainer: {max_steps: '${nope}'}",
    "variable": "trainer: {max_steps: '${oc.env:NOT_SET_ANYWHERE}'}",
    "unclosed ${": "trainer: {max_steps: '${oc.env'}",
    "unknown": "foo: 1",
    "misspelt": "tariner: {max_steps: 1}",
    "subcommand": "fit: {trainer: {max_steps: 1}}",
    "another file": "config: x.yaml",
    "trainer is a list": "trainer: [1, 2]",
    "trainer is a word": "trainer: abc",
    "trainer is null": "trainer: null",
    "checkpoint is a number": "checkpoint: 5",
    "model is a number": "model: 5",
    "model is null": "model: null",
    "model is a list": "model: [1]",
    "class is a number": "model: {class_path: 5}",
    "class is a list": "model: {class_path: [1]}",
    "arguments are a list": "model: {class_path: tests.helpers.tiny.TinyModule, init_args: [1]}",
    "unknown argument": "model: {class_path: tests.helpers.tiny.TinyModule, init_args: {widht: 1}}",
    "callbacks are a mapping": "trainer: {callbacks: {a: 5}}",
    "callback is a number": "trainer: {callbacks: [5]}",
    "callback without a class": "trainer: {callbacks: [{init_args: {}}]}",
    "callback with a number": "trainer: {callbacks: [{class_path: callbacks.Complexity, init_args: 5}]}",
    "callback misspelt": "trainer: {callbacks: [{class_path: callbacks.Complexitty}]}",
    "unit of time": "trainer: {callbacks: [{class_path: Timer, init_args: {interval: abc}}]}",
    "mode": "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitor: x, mode: y}}]}",
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file(place, refused, kind):
    path, content = place / "more.yaml", FILES[kind]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(["fit", *TINY, *BRIEF, f"--config={path}"])


ENVIRONMENTS = [
    {"RANK": "abc"},
    {"RANK": ""},
    {"RANK": "-1"},
    {"RANK": "1.5"},
    {"RANK": "3", "WORLD_SIZE": "2"},
    {"LOCAL_RANK": "x"},
    {"NODE_RANK": "x"},
    {"WORLD_SIZE": "0"},
    {"MASTER_PORT": "abc"},
    {"SLURM_PROCID": "x"},
    {"SLURM_JOB_ID": "5", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "abc"},
    {"SLURM_JOB_ID": "5", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2"},
    {"TORCHELASTIC_RUN_ID": "none"},
]


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_an_environment(refused, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused(["fit", *TINY, *BRIEF])


COMMANDS = [
    ["fti"],
    ["train"],
    ["FIT"],
    ["--config=configs/lift.yaml", "fit"],
    ["fit"],
    ["fit", "--"],
    ["fit", "--=3"],
    ["fit", "fit", *TINY],
    ["fit", *TINY[:1]],
    ["fit", *TINY[1:]],
    ["fit", "--model.help=nope"],
    ["fit", "--data.help=5"],
    ["fit", *TINY, "--print_config=nonsense"],
    ["fit", *TINY, "--resume"],
    ["fit", *TINY, "--resume", "--name=new", "--ckpt_path=nowhere.ckpt"],
    ["fit", *TINY, "--name=earlier"],
    ["validate", *TINY, "--resume"],
    ["validate", *TINY, "--ckpt_path=nowhere.ckpt"],
    ["test", *TINY, "--ckpt_path=README.md"],
    ["predict", *TINY],
    ["predict", "--config=configs/lift.yaml"],
    ["predict", "--config=configs/gan_discovery.yaml", "--data.labelled=nowhere"],
    ["fit", "--config=configs/vit_analysis.yaml"],
    ["fit", "--config=configs/lift.yaml", "--config=nowhere.yaml"],
]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_command(refused, args):
    refused(args)


METHODS = [
    ("lift", "data.num_workers=100000"),
    ("lift", "data.image_size=1000000000"),
    ("lift", "data.scenes=-3"),
    ("lift", "data.held_out=0"),
    ("lift", "data.tasks=[vidio]"),
    ("lift", "model.lr=.nan"),
    ("lift", "model.backbone.mean=[0.5]"),
    ("lift", "model.backbone.layer=99"),
    ("lift", "model.backbone.model=nope"),
    ("lift", "model.backbone.model_args={depth: -1}"),
    ("lift", "model.backbone.model_args={embed_dim: 7}"),
    ("lift", "model.backbone.model_args={nope: 7}"),
    ("lift", "model.backbone.weights=configs/lift.yaml"),
    ("lift", "model.backbone.weights=configs"),
    ("lift", "model.weights=nowhere.pth"),
    ("lift", "data=datamodules.ImageFolder"),
    ("lift", "data=datamodules.ImageNet"),
    ("grit", "model.optimizer.ema=1"),
    ("grit", "model.optimizer.ema=2"),
    ("grit", "model.optimizer.clip=-1"),
    ("grit", "model.image_size=32"),
    ("grit", "data.image_size=48"),
    ("grit", "model.classes=0"),
    ("grit", "model.classes=7"),
    ("grit", "model.generator.downs=-1"),
    ("grit", "model.generator.downs=10"),
    ("grit", "model.generator=null"),
    ("grit", "model.generator=5"),
    ("grit", "model.reconstruction=l3"),
    ("grit", "trainer.gradient_clip_val=1"),
    ("grit", "trainer.accumulate_grad_batches=2"),
    ("gan_discovery", "model.stages.k=1"),
    ("gan_discovery", "model.stages.k=[5,6]"),
    ("gan_discovery", "model.network.dropout=1.5"),
    ("gan_discovery", "model.network.backbone=nope"),
    ("gan_discovery", "model.freeze_from=-2"),
    ("gan_discovery", "model.rounds=0"),
    ("gan_discovery", "data.labelled=nowhere"),
    ("sparsedet", "model.config=nowhere.py"),
    ("sparsedet", "model.config=README.md"),
    ("sparsedet", "model.config=configs/lift.yaml"),
    ("sparsedet", "model.backbone_weights=nowhere"),
    ("sparsedet", "model.mining_start=-1"),
    ("sparsedet", "model.optimizer=adam"),
    ("sparsedet", "data.objects=[5,1]"),
    ("sparsedet", "data.percent=0"),
    ("sparsedet", "data.second_view=null"),
    ("sparsedet", "data.second_view=5"),
    ("sparsedet", "trainer.gradient_clip_val=1"),
    ("syncnet", "model.network.image_size=95"),
    ("syncnet", "model.network.image_size=1000000"),
    ("syncnet", "model.network.norm=layer"),
    ("syncnet", "model.network.probability=cosine --model.network.nonnegative=false"),
    ("syncnet", "model.network=null"),
    ("syncnet", "model.objective=triplet"),
    ("syncnet", "model.temperature=0"),
    ("syncnet", "model.augmentation=null"),
    ("syncnet", "model.augmentation.colour=1"),
    ("syncnet", "model.augmentation.loudness=.inf"),
    ("syncnet", "model.weights=weights/dino.safetensors"),
    ("syncnet", "data.seconds=.nan"),
    ("syncnet", "data.seconds=1e9"),
    ("syncnet", "data.windows=1000"),
    ("syncnet", "data.apart=100"),
    ("syncnet", "data.batch_size=100000"),
    ("syncnet", "data.speech=klingon"),
    ("syncnet", "data=datamodules.Clips"),
    ("syncnet", "data=datamodules.Clips --data.root=nowhere"),
    ("syncnet", "data=datamodules.Clips --data.root=/dev/null"),
    ("syncnet", "data=datamodules.Clips --data.root=README.md"),
    ("syncnet", "data=datamodules.Clips --data.root=weights"),
    ("syncnet", "data=datamodules.Clips --data.root=configs --data.val_share=1"),
    ("syncnet", "data=datamodules.Clips --data.root=configs --data.faces.choose=smallest"),
    ("syncnet", "data={class_path: Clips, init_args: {root: configs, faces: null}}"),
    ("diff2lip", "model.face_size=51 --data.face_size=51"),
    ("diff2lip", "model.face_size=32"),
    ("diff2lip", "model.region=null"),
    ("diff2lip", "model.region.left=0.9"),
    ("diff2lip", "model.region.bottom=.nan"),
    ("diff2lip", "model.mask=upper"),
    ("diff2lip", "model.unet.base=18"),
    ("diff2lip", "model.unet.multipliers=[]"),
    ("diff2lip", "model.unet.multipliers=[1,2,3,4,5,6,7]"),
    ("diff2lip", "model.unet.attention_levels=[4]"),
    ("diff2lip", "model.unet.head_channels=7"),
    ("diff2lip", "model.audio.syncnet=weights/dino.safetensors"),
    ("diff2lip", "model.audio.dropout=1"),
    ("diff2lip", "model.diffusion.steps=1"),
    ("diff2lip", "model.diffusion.prediction=x0"),
    ("diff2lip", "model.losses.lambda_l2=-1"),
    ("diff2lip", "model.losses.gan_start=-1"),
    ("diff2lip", "model.experts=null"),
    ("diff2lip", "model.experts.syncnet=null --data.clips=10"),
    ("diff2lip", "model.discriminator.layers=0"),
    ("diff2lip", "model.single_frames=-1"),
    ("diff2lip", "model.sampling.steps=1001"),
    ("diff2lip", "model.sampling.guidance=2"),
    ("diff2lip", "model.weights=weights/syncnet.safetensors"),
    ("diff2lip", "model=Wav2Lip --model.objective.lambda_sync=0.7 --model.objective.lambda_gan=0.7"),
    ("diff2lip", "data.windows=1"),
    ("diff2lip", "data.test_clips=1"),
    ("diff2lip", "data.cross=1000"),
    ("diff2lip", "data.most_turned=91"),
    ("diff2lip", "data.length=cut"),
    ("vit_analysis", "model.image_size=7"),
    ("vit_analysis", "data.size=32"),
    ("vit_analysis", "model.models={}"),
    ("vit_analysis", "model.models=5"),
    ("vit_analysis", "model.models.FS=5"),
    ("vit_analysis", "model.models.FS.model=nope"),
    ("vit_analysis", "model.models.FS.weights=nowhere"),
]


@pytest.mark.parametrize(("config", "option"), METHODS)
def test_an_option_of_a_method(refused, config, option):
    subcommand = "test" if config == "vit_analysis" else "fit"
    words = re.split(" (?=--)", f"--{option}")
    refused([subcommand, f"--config=configs/{config}.yaml", "--trainer.callbacks=[]", *BRIEF, *words])


def of_methods() -> Iterator[tuple[str, str]]:
    """Every fourth number that the module and the data of a shipped configuration take, by name."""
    for config in CONFIGS:
        content = yaml.safe_load((REPOSITORY / "configs" / f"{config}.yaml").read_text())
        for part in ("model", "data"):
            package, _, name = content[part]["class_path"].rpartition(".")
            cls = getattr(__import__(package), name)
            numbers = [name for name, each in options(cls).items() if re.match(r".*\b(int|float)\b", str(each))]
            yield from ((config, f"{part}.{name}") for name in numbers[::4])


OF_METHODS = list(of_methods())


@pytest.mark.parametrize(("config", "option"), OF_METHODS)
def test_a_word_for_a_number(refused, config, option):
    words = ["fit", f"--config=configs/{config}.yaml", *BRIEF, f"--{option}={{no: number}}"]
    refused(words, option.partition(".")[2])
