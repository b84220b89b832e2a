"""Every file in configs/ is started through the real entry point, stacked as its own first lines say.

A new file fails here until it has a test: a case below, or a test named in ELSEWHERE.
"""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

import cli
from networks.identity import SmallIdentity
from networks.vit_features import create_vit
from tests.helpers.image_files import save_photo
from tests.helpers.runs import ROOT, start

CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").glob("**/*.yaml"))
EVALUATIONS = [f"configs/paper/lift_{name}.yaml" for name in ("spair", "davis", "voc07", "voc12", "coco20k")]
DETECTION = ["configs/detector.yaml", "configs/sparsedet.yaml", "configs/sparsedet_backbone.yaml"]
DETECTION += ["configs/reports/detection.yaml"]
DETECTION += [f"configs/paper/detector_{name}.yaml" for name in ("coco", "lvis")]
DETECTION += [f"configs/paper/sparsedet_{name}.yaml" for name in ("coco", "voc", "ssl")]
VITDET = [
    f"configs/{folder}{name}.yaml" for folder in ("", "paper/") for name in ("vitdet", "lift_vitdet", "vitdet_lift")
]
DISCOVERY = ["configs/paper/gan_discovery.yaml", "configs/paper/gan_discovery_online.yaml"]
DISCOVERY += ["configs/gan_discovery_folders.yaml"]
TRANSLATION = [f"configs/paper/{name}_{data}.yaml" for name in ("grit", "pix2pixhd", "spade") for data in (256, 512)]
TRANSLATION += [f"configs/paper/{name}_handbags.yaml" for name in ("grit", "pix2pixhd", "spade")] + [
    "configs/grit.yaml"
]
SYNCNET = ["configs/syncnet.yaml", "configs/paper/syncnet.yaml", "configs/paper/syncnet_lrw.yaml"]
DUBBING = [f"configs/paper/{name}.yaml" for name in ("diff2lip", "diff2lip_lrw", "diff2lip_256", "wav2lip")]
REENACTING = ["layout", "voxceleb2", "unet", "spade", "segmentation", "oracle", "finetune"]
REENACTING = [f"configs/paper/lsr_{name}.yaml" for name in REENACTING]
STAGES = ["configs/lsr_layout.yaml", "configs/lsr.yaml", "configs/lsr_finetune.yaml"]
ELSEWHERE = dict.fromkeys(EVALUATIONS, "tests/configs/test_lift_evaluations.py") | {
    **dict.fromkeys(DETECTION, "tests/configs/test_detection.py"),
    **dict.fromkeys(VITDET, "tests/configs/test_vitdet.py"),
    **dict.fromkeys(DISCOVERY, "tests/configs/test_gan_discovery.py"),
    **dict.fromkeys(TRANSLATION, "tests/configs/test_grit.py"),
    **dict.fromkeys(SYNCNET, "tests/configs/test_syncnet.py"),
    "configs/diff2lip.yaml": "tests/configs/test_diff2lip.py",
    "configs/gen2det.yaml": "tests/configs/test_gen2det.py",
    **{
        f"configs/paper/gen2det_{name}.yaml": "tests/configs/test_gen2det.py"
        for name in ("lvis", "coco", "ld_coco", "centernet2")
    },
    **{
        f"configs/paper/gen2det_{stage}_{data}.yaml": "tests/configs/test_gen2det_paper.py"
        for stage in ("generate", "filter")
        for data in ("lvis", "coco")
    },
    "configs/paper/gen2det_coco_o.yaml": "tests/configs/test_gen2det_paper.py",
    "configs/gen2det_filter.yaml": "tests/configs/test_gen2det_filter.py",
    "configs/gen2det_generate.yaml": "tests/configs/test_gen2det_generate.py",
    "configs/gan_discovery_diffusion.yaml": "tests/configs/test_gan_discovery_diffusion.py",
    "configs/gen2det_inpainter.yaml": "tests/configs/test_gen2det_inpainter.py",
    **dict.fromkeys(DUBBING, "tests/configs/test_diff2lip_paper.py"),
    **dict.fromkeys(REENACTING, "tests/configs/test_lsr_paper.py"),
    **dict.fromkeys(STAGES, "tests/configs/test_lsr.py"),
    "configs/sweeps/lift.yaml": "tests/test_sweeps.py",
    "configs/vit_analysis.yaml": "tests/configs/test_vit_analysis.py",
    "configs/paper/vit_analysis.yaml": "tests/configs/test_vit_analysis_paper.py",
    "configs/logging/wandb.yaml": "tests/test_cli.py",  # W&B serves one run folder a process
}
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
]
# configs/lift.yaml in seconds: a few images, one of each evaluation.
WORLD = {"scenes": 6, "crops": 2, "image_size": 64, "batch_size": 4, "held_out": 4}
EVALUATED = {"image_sizes": [32], "pairs": 3, "videos": 1, "frames": 3, "discoveries": 2}
TINY_VIT = {"depth": 1, "embed_dim": 48, "num_heads": 3}
SIX = ("supervised", "clip", "dino", "moco", "mae", "beit")
# configs/supervision/ in seconds: heads, decoders and vocabularies of a size that two steps can pay for.
SMALL_HEADS = {
    "dino": {"prototypes": 16, "hidden": 16, "bottleneck": 8},
    "moco": {"hidden": 16, "projection": 8},
    "clip": {"embedding": 16, "text_width": 16, "text_depth": 1, "text_heads": 2},
    "mae": {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
    "beit": {"tokenizer.vocabulary": 8, "tokenizer.batches": 1},
}


def words(options: dict, prefix: str) -> list[str]:
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


FEW = [*words(WORLD | EVALUATED, "data"), "--trainer.max_epochs=1"]
IMAGES_ALONE = words(WORLD | {"tasks": "[images]"}, "data")
NO_EVALUATION = ["--test_after_fit=false", "--trainer.callbacks=[]"]


def stacked(config: str) -> list[str]:
    """Return the --config words of the command in a file's first lines; without one it goes on configs/lift.yaml."""
    comments = [line for line in (ROOT / config).read_text().splitlines() if line.startswith("#")]
    commands = [found for line in comments if "cli.py fit" in line for found in [re.findall(r"--config (\S+)", line)]]
    files = commands[0] if commands else ["configs/lift.yaml", config]
    # A command may add a fragment for hardware that is not here.
    files = files[: files.index(config) + 1]
    return [f"--config={path}" for path in files]


class Case:
    """Runs one configuration in a temporary folder."""

    def __init__(self, config: str, folder: Path, monkeypatch, capsys):
        self.config, self.folder, self.monkeypatch, self.capsys = config, folder, monkeypatch, capsys

    def command(self, *more: str) -> list[str]:
        return ["fit", *stacked(self.config), f"--runs_dir={self.folder / 'runs'}", *QUIET, *more]

    def run(self, *more: str):
        return cli.main(self.command(*more))

    def printed(self) -> dict:
        """Return the configuration as the parser understands it, without running anything."""
        with pytest.raises(SystemExit) as caught:
            cli.main(["fit", *stacked(self.config), "--print_config"])
        assert caught.value.code == 0
        return yaml.safe_load(self.capsys.readouterr().out)


def lift(case: Case) -> None:
    """The whole of what the file promises: training, every table, pictures, and features of photographs."""
    run = case.run(*FEW).run_folder
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert (run / "cli_config.yaml").is_file()
    with (run / "metrics.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert {"train/loss", "val/loss", "val/loss_bilinear", "test/loss"} <= set(header)
    for task, metric in (("keypoints", "PCK@0.1"), ("video", "J&F"), ("discovery", "CorLoc")):
        with (run / "results" / f"{task}.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == metric]
        assert {"base", "bilinear", "random LiFT", "LiFT", "ViT at 2S"} <= {row["method"] for row in rows}
        assert all(0 <= float(row["value"]) <= 1 for row in rows)
    assert (run / "results" / "complexity.csv").is_file()
    pictures = {path.name for path in (run / "pictures").glob("*.png")}
    assert len(pictures) >= 2, pictures

    for name in ("a.jpg", "b.png"):
        save_photo(case.folder / "photos" / name, 50, 40)
    words = [*stacked(case.config), f"--runs_dir={case.folder / 'runs'}", *QUIET]
    checkpoint = run / "checkpoints" / "last.ckpt"
    predicted = cli.main(
        ["predict", *words, f"--ckpt_path={checkpoint}", f"--data.root={case.folder / 'photos'}"]
    ).run_folder
    assert predicted != run
    for name in ("a.jpg", "b.png"):
        with safe_open(predicted / "features" / f"{name}.safetensors", "pt") as file:
            # 224 pixels along the longer side, patches of 8, twice the resolution.
            assert file.get_tensor("features").shape == (128, 44, 56)
        assert (predicted / "pictures" / f"{name}.png").stat().st_size > 0


def supervision(case: Case) -> None:
    run = case.run(*words({"scenes": 6, "crops": 2, "batch_size": 4}, "data"), "--trainer.max_steps=2")
    assert run.trainer.global_step == 2
    with safe_open(run.run_folder / "backbone.safetensors", "pt") as file:
        assert set(file.keys()) == set(run.model.backbone_state())


def one_of_six(case: Case) -> None:
    few = {"subjects": 24, "batch_size": 12}
    run = case.run(*words(few, "data"), *words(small_heads(case.config), "model"), "--trainer.max_steps=2")
    assert run.trainer.global_step == 2
    backbone = run.run_folder / "backbone.safetensors"
    assert backbone.stat().st_size < 3_000_000
    with safe_open(backbone, "pt") as file:
        assert {"command", "seed", "commit"} <= file.metadata().keys()
    same = yaml.safe_load((ROOT / "configs/vit_analysis.yaml").read_text())["model"]["init_args"]["models"]["FS"]
    create_vit(same["model"], str(backbone), same["model_args"])  # one architecture; loading is strict
    create_vit(same["model"], str(run.run_folder / "checkpoints" / "last.ckpt"), same["model_args"])


def small_heads(config: str) -> dict:
    return SMALL_HEADS.get(Path(config).stem, {})


def paper_supervision(case: Case) -> None:
    """The thesis' recipe on a replica of its data, with its ViT cut down to one block."""
    data = case.folder / "data"
    lines = ["path\tcaption"]
    for k in range(4):
        for part in ("train", "val"):
            save_photo(data / "imagenet" / part / f"n0144076{k % 2}" / f"{part}_{k}.JPEG", 70, 60, seed=k)
        save_photo(data / "captions" / f"{k}.jpg", 70, 60, seed=k)
        lines.append(f"{k}.jpg\ta photo of number {k}")
    (data / "captions" / "captions.tsv").write_text("\n".join(lines) + "\n")
    case.monkeypatch.setenv("DATA_ROOT", str(data))
    asked = yaml.safe_load((ROOT / case.config).read_text())["model"]["init_args"]
    tiny = asked.get("model_args", {}) | TINY_VIT
    if "beit" not in case.config:
        tiny |= {"img_size": 224}
    run = case.run(
        f"--model.model_args={json.dumps(tiny)}",
        *words(small_heads(case.config), "model"),
        *words({"batch_size": 2, "num_workers": 0}, "data"),
        *("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"),
        *("--trainer.precision=32", "--trainer.sync_batchnorm=false"),
    )
    assert run.trainer.global_step == 2
    assert (run.run_folder / "backbone.safetensors").is_file()


def paper(case: Case) -> None:
    """The thesis' recipe on a replica of ImageNet, with its ViT cut down to one block of random weights."""
    for part in ("train", "val"):
        for k in range(4):
            save_photo(case.folder / "data/imagenet" / part / f"n0144076{k % 2}" / f"{part}_{k}.JPEG", 70, 60, seed=k)
    case.monkeypatch.setenv("DATA_ROOT", str(case.folder / "data"))
    weights, model_args = "null", TINY_VIT
    if "moco" in case.config:
        model_args = TINY_VIT | {"num_heads": 12}
        weights = save_as_moco(case.folder / "moco.pth", model_args)
    run = case.run(
        *words({"weights": weights, "model_args": json.dumps(model_args)}, "model.backbone"),
        *words({"image_size": 64, "batch_size": 2, "num_workers": 0}, "data"),
        *("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"),
    )
    assert run.trainer.global_step == 2
    assert (run.run_folder / "checkpoints" / "last.ckpt").is_file()
    asked = yaml.safe_load((ROOT / case.config).read_text())["model"]["init_args"]["backbone"]["init_args"]
    made = yaml.safe_load((run.run_folder / "cli_config.yaml").read_text())["model"]["init_args"]["backbone"]
    assert made["init_args"]["model"] == asked["model"]
    assert run.model.backbone.patch_size == (8 if "patch8" in asked["model"] else 16)
    if weights != "null":
        kept = torch.load(weights, weights_only=True)["state_dict"]["module.base_encoder.blocks.0.attn.qkv.weight"]
        assert torch.equal(run.model.backbone.vit.blocks[0].attn.qkv.weight, kept)


def save_as_moco(path: Path, model_args: dict) -> str:
    """Write a checkpoint with the names of MoCo-v3's own: both encoders, projector and predictor."""
    state = create_vit("vit_small_patch16_224", None, model_args).state_dict()
    named = {f"module.base_encoder.{key}": value for key, value in state.items()}
    named |= {f"module.momentum_encoder.{key}": value + 1 for key, value in state.items()}
    named |= {"module.base_encoder.head.0.weight": torch.ones(2, 2), "module.predictor.0.weight": torch.ones(2, 2)}
    torch.save({"epoch": 300, "arch": "vit_small", "state_dict": named}, path)
    return str(path)


def runs_on_the_cpu(case: Case) -> None:
    run = case.run(*FEW, *NO_EVALUATION)
    assert run.trainer.global_step == 2
    assert str(run.trainer.precision) == ("bf16-mixed" if "bf16" in case.config else "32-true")
    assert all(weight.isfinite().all() for weight in run.model.block.parameters())


def two_processes(case: Case) -> None:
    """The command that the file names for CPUs, in processes of its own."""
    more = [*FEW, *NO_EVALUATION, "--trainer.devices=2", "--data.batch_size=2", "--name=two"]
    with start(case.command(*more)) as process:
        assert process.wait(timeout=300) == 0
    record = json.loads((case.folder / "runs" / "lift" / "two" / "manifest.json").read_text())
    assert (record["status"], record["world_size"]) == ("finished", 2)


def understood(case: Case) -> None:
    """What needs hardware that is not here is understood by the parser, on top of everything below it."""
    printed = case.printed()
    fragment = yaml.safe_load((ROOT / case.config).read_text())
    assert fragment["trainer"].items() <= printed["trainer"].items()
    assert fragment.get("checkpoint", {}).items() <= printed["checkpoint"].items()
    assert printed["model"]["class_path"].endswith("LiFT")


def discovery(case: Case) -> None:
    """One round of discovery in the world of sources, with all that is measured."""
    few = {"images": 6, "discovery_images": 4, "image_size": 16, "batch_size": 36}
    small = {"rounds": 1, "epochs": 1, "tau": 1, "k": 8}
    run = case.run(*words(few, "data.init_args"), *words(small, "model.init_args"))
    assert run.model.finished == 1
    names = {"sources": "purity", "k_means": "purity", "ood": "AUROC", "real_fake": "accuracy"}
    for protocol, metric in names.items():
        with (run.run_folder / "results" / f"{protocol}.csv").open(newline="") as file:
            values = [float(row["value"]) for row in csv.DictReader(file) if row["metric"] == metric]
        assert values, protocol
        assert all(0 <= value <= 1 for value in values)


def identity(case: Case) -> None:
    """A few people, and a file that the embedder reads."""
    few = {"people": 6, "pictures": 2, "test_people": 3, "batch_size": 3}
    run = case.run(*words(few, "data.init_args"), "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1")
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        assert {"val/AUC", "val/same", "val/other", "test/AUC"} <= set(next(csv.reader(file)))
    network = SmallIdentity(str(run.run_folder / "backbone.safetensors"))
    assert not network.training
    assert network(torch.rand(2, 3, 64, 64)).norm(dim=1).tolist() == pytest.approx([1, 1])


def debug(case: Case) -> None:
    many = words(WORLD | EVALUATED | {"scenes": 30, "batch_size": 2, "pairs": 30}, "data")
    run = case.run(*many)
    assert run.trainer.global_step == 4
    assert (run.run_folder / "results" / "keypoints.csv").is_file()


def overfit(case: Case) -> None:
    """The same two batches in every epoch, crops included, and a loss that falls."""
    run = case.run(*IMAGES_ALONE, "--trainer.max_epochs=5")
    assert run.trainer.global_step == 2 * 5
    assert not (run.run_folder / "results").exists()
    first, second = [[batch["image"] for batch in run.trainer.train_dataloader] for _ in range(2)]
    assert len(first) >= 2
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
    assert sum(losses[-2:]) < 0.7 * sum(losses[:2]), losses


def profiled(case: Case) -> None:
    """The profiler's table lies in the run folder and knows the steps."""
    run = case.run(*IMAGES_ALONE, "--data.batch_size=1", "--data.scenes=30")
    assert run.trainer.global_step == 20
    (table,) = run.run_folder.glob("fit-profile.txt")
    rows = {row[0].strip(): row for row in (line.split("|")[1:] for line in table.read_text().splitlines()) if row}
    calls = rows["run_training_batch"][2]
    assert int(calls) == 20, rows.keys()


def limited(case: Case) -> None:
    """Two batches an epoch, in each of the epochs that were asked for."""
    run = case.run(*IMAGES_ALONE, *NO_EVALUATION, "--trainer.max_epochs=3")
    assert (run.trainer.global_step, run.trainer.current_epoch) == (6, 3)
    assert run.trainer.limit_test_batches == run.trainer.limit_predict_batches == 2


CASES: dict[str, Callable[[Case], None]] = {
    "configs/lift.yaml": lift,
    "configs/debug.yaml": debug,
    "configs/debug/limit.yaml": limited,
    "configs/debug/overfit.yaml": overfit,
    "configs/debug/profile.yaml": profiled,
    "configs/gan_discovery.yaml": discovery,
    "configs/identity.yaml": identity,
    "configs/hardware/cpu.yaml": runs_on_the_cpu,
    "configs/hardware/bf16.yaml": runs_on_the_cpu,
    "configs/hardware/ddp.yaml": two_processes,
    "configs/hardware/gpu.yaml": understood,
    "configs/hardware/slurm.yaml": understood,
    "configs/supervision/dense_contrastive.yaml": supervision,
    "configs/supervision/dino_lift_backbone.yaml": supervision,
    **{f"configs/supervision/{name}.yaml": one_of_six for name in SIX},
    **{f"configs/paper/supervision/{name}.yaml": paper_supervision for name in SIX},
    "configs/paper/lift.yaml": paper,
    **{f"configs/paper/lift_{name}.yaml": paper for name in ("vit_s16", "moco_s16", "dino_s8", "dino_b16", "dino_b8")},
}
SLOW = {"configs/hardware/ddp.yaml"}


@pytest.mark.parametrize(
    "config",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CONFIGS if name not in ELSEWHERE],
)
def test_config(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert config in CASES, f"{config} has no test: add a case here"
    CASES[config](Case(config, tmp_path, monkeypatch, capsys))


@pytest.mark.parametrize(("config", "test"), ELSEWHERE.items())
def test_configs_tested_elsewhere_are_named_there(config, test):
    assert config in CONFIGS
    assert Path(config).stem in (ROOT / test).read_text()


def test_every_case_has_its_file():
    assert CASES.keys() | ELSEWHERE.keys() == set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_first_line_says_what_it_is(config):
    first = (ROOT / config).read_text().splitlines()[0]
    assert re.match(r"# \w.{20,}", first)


@pytest.mark.parametrize("config", [name for name in CONFIGS if name not in ELSEWHERE])
def test_commands_in_comments_name_files_that_exist(config):
    for path in re.findall(r"configs/[\w/]+\.yaml", (ROOT / config).read_text()):
        assert path in CONFIGS, path
