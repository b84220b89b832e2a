"""ViTDet, LiFT on its ViT, and both together, through the real entry point: scenes in seconds, COCO on a replica.

configs/vitdet.yaml, configs/lift_vitdet.yaml, configs/vitdet_lift.yaml, and those of the same names in configs/paper/.
"""

import csv
import json
from pathlib import Path

import pytest
import torch

import cli
from lightning_modules import Detector
from networks.vit_features import create_vit
from tests.helpers.replicas_detection import make_coco_detection
from tests.helpers.runs import ROOT

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SCENES = [
    *("--data.init_args.scenes=4", "--data.init_args.test_scenes=3", "--data.init_args.batch_size=2"),
    *("--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"),
]
CROWDS = [*("--data.init_args.crowds=4", "--data.init_args.held_out=2"), *SCENES[2:]]
BLOCK = "--model.init_args.overrides.backbone.lift.weights"
FIGURES = {(metric, method) for metric in ("AP", "AP50", "AP75") for method in ("boxes", "masks")}


class Chain:
    """Runs what stands in a folder of configurations, in runs of their own."""

    def __init__(self, folder: Path, configs: str):
        self.folder, self.configs = folder, configs

    def __call__(self, command: str, *words: str, lift: bool = True):
        names = ("vitdet", "vitdet_lift") if lift else ("vitdet",)
        configs = [f"--config={self.configs}/{name}.yaml" for name in names]
        return cli.main([command, *configs, f"--runs_dir={self.folder / 'runs'}", *QUIET, *words])

    def block(self, *words: str):
        configs = [f"--config={self.configs}/{name}.yaml" for name in ("lift", "lift_vitdet")]
        return cli.main(["fit", *configs, f"--runs_dir={self.folder / 'runs'}", *QUIET, *words])


def last(run) -> str:
    return str(run.run_folder / "checkpoints" / "last.ckpt")


def figures(run):
    with (run.run_folder / "results" / "coco.csv").open(newline="") as file:
        return {(row["metric"], row["method"]) for row in csv.DictReader(file)}


def differing(run, path):
    """Return the parts of a detector that are not as in a checkpoint; of the ViT and of LiFT apart."""
    state = torch.load(path, weights_only=True)["state_dict"]
    own = {f"detector.{name}": value for name, value in run.model.detector.state_dict().items()}
    changed = {name for name, value in own.items() if name in state and not torch.equal(value, state[name])}
    return {".".join(name.split(".")[1:3]) if ".backbone." in name else name.split(".")[1] for name in changed}


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def small(tmp_path):
    chain = Chain(tmp_path, "configs")
    plain = chain("fit", *SCENES, lift=False)
    block = chain.block(f"--model.init_args.backbone.init_args.weights={last(plain)}", *CROWDS)
    return chain, plain, block


def test_on_scenes(small, tmp_path):
    chain, plain, block = small
    assert plain.trainer.global_step == block.trainer.global_step == 2
    assert figures(plain) >= FIGURES
    # LiFT learns on the ViT of the detector, not on the one that this has started from.
    tokens = "blocks.3.attn.qkv.weight"
    assert torch.equal(
        block.model.backbone.vit.get_parameter(tokens), plain.model.detector.backbone.vit.get_parameter(tokens)
    )
    named = json.loads(json.dumps(block.model.backbone.options))
    before = create_vit(named["model"], "weights/dense_contrastive.safetensors", named["model_args"])
    assert not torch.equal(before.get_parameter(tokens), block.model.backbone.vit.get_parameter(tokens))

    words = [f"--model.init_args.weights={last(plain)}", f"{BLOCK}={last(block)}", *SCENES]
    star = chain("test", *words)
    assert figures(star) >= FIGURES
    assert star.model.detector.backbone.stride == 4
    assert differing(star, last(plain)) == set()
    taught = block.model.block.state_dict()
    assert all(
        torch.equal(value, taught[name]) for name, value in star.model.detector.backbone.lift.state_dict().items()
    )

    tuned = chain("fit", *words)
    assert tuned.trainer.global_step == 2
    assert differing(tuned, last(plain)) == {"neck", "rpn_head", "roi_head"}
    assert all(
        torch.equal(value, taught[name]) for name, value in tuned.model.detector.backbone.lift.state_dict().items()
    )
    assert not any(each.requires_grad or each.grad is not None for each in tuned.model.detector.backbone.parameters())

    # The checkpoint alone has everything: neither ViTDet nor the block need to be there.
    for run in (plain, block):
        Path(last(run)).unlink()
    again = Detector.load_from_checkpoint(last(tuned))
    assert all(torch.equal(value, tuned.model.state_dict()[name]) for name, value in again.state_dict().items())
    assert again.hparams["overrides"] == tuned.model.hparams["overrides"]


def test_the_controls_on_scenes(small, tmp_path):
    chain, plain, _ = small
    without = '--model.init_args.overrides={"backbone.frozen": true}'
    config = "--model.init_args.config=configs/detectors/vitdet_scenes.py"
    weights = f"--model.init_args.weights={last(plain)}"
    run = chain("fit", config, without, weights, *SCENES)
    assert differing(run, last(plain)) == {"neck", "rpn_head", "roi_head"}
    assert run.model.detector.neck.strides == [4, 8, 16, 32]
    bilinear = '--model.init_args.overrides={"backbone.lift": "bilinear", "pyramid_base": "halve_strides"}'
    run = chain("test", bilinear, weights, *SCENES)
    assert run.model.detector.neck.strides == [2, 4, 8, 16]
    assert figures(run) >= FIGURES


def test_strides_that_are_kept_take_a_new_pyramid(small, capsys):
    chain, plain, block = small
    kept = f'--model.init_args.overrides={{"backbone.lift.weights": "{last(block)}", "pyramid_base": "keep_strides"}}'
    with pytest.raises(SystemExit, match="2"):
        chain("test", kept, f"--model.init_args.weights={last(plain)}", *SCENES)
    assert "neck.levels.down4" in capsys.readouterr().err
    run = chain(
        "fit", kept, "--model.init_args.weights=null", f"--model.init_args.backbone_weights={last(plain)}", *SCENES
    )
    assert run.model.detector.neck.strides == [4, 8, 16, 32]
    assert "backbone.vit" not in differing(run, last(plain))


def test_a_detector_without_weights_for_lift_is_refused(small, capsys):
    chain, plain, _ = small
    with pytest.raises(SystemExit, match="2"):
        chain("test", f"--model.init_args.weights={last(plain)}", "--model.init_args.overrides={}", *SCENES)
    assert "missing: backbone.lift." in capsys.readouterr().err


def test_on_coco(tmp_path, monkeypatch):
    """The thesis' recipe on a replica, with its ViT cut down to one block; LiFT keeps its further convolution."""
    make_coco_detection(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    vit = {"embed_dim": 48, "depth": 1, "num_heads": 3}
    tiny = {"backbone.weights": None, "backbone.model_args": vit, "neck.out_channels": 16, "rpn_head.in_channels": 16}
    tiny |= {"rpn_head.feat_channels": 16, "roi_head.bbox_head.fc_out_channels": 16}
    tiny |= {"train_cfg.rpn_proposal.max_per_img": 20, "test_cfg.rpn.max_per_img": 10, "train_cfg.rcnn.sampler.num": 8}
    for part in ("bbox", "mask"):
        tiny[f"roi_head.{part}_roi_extractor.out_channels"] = tiny[f"roi_head.{part}_head.in_channels"] = 16
        tiny[f"roi_head.{part}_head.conv_out_channels"] = 16
    small = [
        *("--data.init_args.batch_size=2", "--data.init_args.num_workers=0", "--data.init_args.train_sizes=[64]"),
        *("--data.init_args.test_size=64", "--trainer.max_steps=2", "--model.init_args.num_classes=3"),
    ]
    chain = Chain(tmp_path, "configs/paper")
    plain = chain("fit", f"--model.init_args.overrides={json.dumps(tiny)}", *small, lift=False)
    assert figures(plain) >= FIGURES
    backbone = {"weights": last(plain), "model_args": json.dumps(vit)}
    block = chain.block(
        *(f"--model.init_args.backbone.init_args.{key}={value}" for key, value in backbone.items()),
        *("--data.init_args.image_size=64", "--data.init_args.batch_size=2", "--data.init_args.num_workers=0"),
        *("--data.init_args.skip_unreadable=true", "--model.init_args.stem=8", "--trainer.max_epochs=1"),
    )
    assert block.trainer.global_step >= 1
    assert block.model.block.stem[6].weight.shape == (8, 8, 3, 3)
    lift = {"backbone.lift": {"stem": 8, "stem_blocks": 1}, "pyramid_base": "halve_strides"}
    words = [f"--model.init_args.overrides={json.dumps(tiny | lift)}", f"{BLOCK}={last(block)}"]
    words += [f"--model.init_args.weights={last(plain)}", *small]
    star = chain("test", *words)
    assert star.model.detector.neck.strides == [2, 4, 8, 16, 32]
    assert figures(star) >= FIGURES
    tuned = chain("fit", *words)
    assert differing(tuned, last(plain)) == {"neck", "rpn_head", "roi_head"}
