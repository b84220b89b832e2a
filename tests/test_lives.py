"""Every exported module trains, goes on from its checkpoint, is validated or tested, and predicts, in one process.

On this machine's processor; tests/test_pretended_cuda.py runs the same on a pretended GPU.
"""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pytest

import cli
from tests.configs.test_configs import EVALUATED, SMALL_HEADS, WORLD
from tests.configs.test_detection import SCENES
from tests.configs.test_gen2det_filter import filtered
from tests.configs.test_gen2det_generate import FEW, generate
from tests.configs.test_gen2det_inpainter import SMALL as FEW_CROPS
from tests.configs.test_vit_analysis import command as analysis
from tests.helpers.dubbing_runs import DIFF2LIP
from tests.helpers.dubbing_runs import SMALL as FEW_DUBBED
from tests.helpers.head_runs import LAYOUT, PIPELINE, fine_tuning, with_weights
from tests.helpers.image_files import save_photo
from tests.helpers.replicas_dubbing import small_baseline
from tests.helpers.runs import ROOT
from tests.helpers.sync_runs import SMALL as FEW_CLIPS
from tests.helpers.sync_runs import SYNCNET
from tests.helpers.translation_runs import FACES, FEW_FACES, small, words

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
FEW_BATCHES = [f"--trainer.limit_{part}_batches=2" for part in ("train", "val", "test", "predict")]
WITHOUT_WEIGHTS = "--model.init_args.backbone_weights=null"
FEW_SUBJECTS = {"subjects": 24, "batch_size": 6}
FEW_PEOPLE = {"people": 4, "pictures": 2, "test_people": 2, "batch_size": 2}
FEW_SCENES = {"scenes": 6, "crops": 2, "batch_size": 4}
ONE_ROUND = {"rounds": 1, "epochs": 1, "epochs_later": 1, "stages.tau": 1, "stages.k": 8}
FEW_SOURCES = {"images": 6, "discovery_images": 4, "image_size": 16, "batch_size": 36}


@dataclass(frozen=True)
class Life:
    """How a module is driven.

    Args:
        start: the words that a small training of one epoch is started with.
        longer: what is added for the second epoch, which goes on from the checkpoint of the first.
        then: subcommands that are asked of the checkpoint afterwards.
        limits: of batches.
        trained: whether there is anything to train; otherwise the subcommands are asked without a checkpoint.
    """

    start: list[str]
    longer: list[str] = field(default_factory=lambda: ["--trainer.max_epochs=2"])
    then: tuple[str, ...] = ("validate",)
    limits: list[str] = field(default_factory=lambda: FEW_BATCHES)
    trained: bool = True


def detector(name: str) -> Life:
    model = [] if name == "SparseDet" else [f"--model={name}"]
    config = "detector" if name == "Detector" else "sparsedet"
    return Life([f"--config=configs/{config}.yaml", *model, *SCENES, WITHOUT_WEIGHTS], then=("validate", "test"))


def supervision(name: str) -> Life:
    heads = words(SMALL_HEADS.get(name, {}), "model")
    start = [
        f"--config=configs/supervision/{name}.yaml",
        *heads,
        *words(FEW_SUBJECTS, "data"),
        "--trainer.max_epochs=1",
    ]
    return Life(start, then=("validate",) if name == "supervised" else ())


def translation(config: str, *more: str) -> Life:
    data = [*words(FEW_FACES, "data"), "--trainer.check_val_every_n_epoch=1"]
    start = [*small(config, *more, *data), "--trainer.callbacks=[]"]
    return Life(start, then=("test", "predict"))


def world(config: str, *more: str) -> list[str]:
    return [f"--config=configs/{config}.yaml", *words(WORLD | EVALUATED, "data"), "--trainer.max_epochs=1", *more]


FACES_ALONE = ["--data=FaceWorld", "--data.batch_size=4"]
LIVES: dict[str, Life] = {
    "GANDiscovery": Life(
        ["--config=configs/gan_discovery.yaml", *words(FEW_SOURCES, "data.init_args"), *words(ONE_ROUND, "model")],
        longer=["--model.rounds=2"],
        then=("test", "predict"),
        limits=FEW_BATCHES[:1],  # a discovery is about all of its images
    ),
    "Diff2Lip": Life([f"--config={DIFF2LIP}", *FEW_DUBBED], then=("test", "predict")),
    "Wav2Lip": Life([*small_baseline("Wav2Lip"), "--data.val_clips=1"], then=("validate", "test")),
    "Copying": Life(small_baseline("Copying"), longer=[], then=("test",), trained=False),
    "LSRLayout": Life([*LAYOUT, "--trainer.max_epochs=1"], then=("validate", "test")),
    "LSRFineTuning": Life(fine_tuning(steps=2), longer=["--model.finetune.steps=4"], then=("test",)),
    "LSR": Life([*PIPELINE, "--trainer.max_epochs=1"], then=("validate", "test")),
    "GRIT": translation(FACES),
    "Pix2PixHD": translation("configs/paper/pix2pixhd_256.yaml", *FACES_ALONE),
    "SPADE": translation("configs/paper/spade_256.yaml", *FACES_ALONE),
    "LiFT": Life(world("lift"), then=("validate", "test", "predict")),
    "BackboneClassifier": Life(
        ["--config=configs/sparsedet_backbone.yaml", *words(FEW_SUBJECTS, "data.init_args"), "--trainer.max_epochs=1"]
    ),
    "FaceIdentity": Life(
        ["--config=configs/identity.yaml", *words(FEW_PEOPLE, "data.init_args"), "--trainer.max_epochs=1"],
        then=("validate", "test"),
    ),
    **{name: detector(name) for name in ("Detector", "SparseDet", "CoMining", "PseudoLabels", "TwoViewDetector")},
    "BoxDiffusionTraining": Life(
        ["--config=configs/gen2det_inpainter.yaml", *FEW_CROPS, "--trainer.max_epochs=1"],
    ),
    "LayoutInpainting": Life(
        ["--config=configs/gen2det_generate.yaml", "--data.real.init_args.scenes=8", "--data.output=null"],
        longer=[],
        then=("predict",),
        trained=False,
    ),
    "GeneratedPictureFilter": Life([], then=("predict",)),  # of what the former has generated
    "Gen2Det": Life(
        ["--config=configs/gen2det.yaml", "--data.synthetic.annotations=null", *SCENES, WITHOUT_WEIGHTS],
        then=("validate", "test"),
    ),
    "SyncNet": Life([f"--config={SYNCNET}", *FEW_CLIPS], then=("validate", "test", "predict")),
    "DenseContrastive": Life(
        ["--config=configs/supervision/dense_contrastive.yaml", *words(FEW_SCENES, "data"), "--trainer.max_epochs=1"],
        then=(),
    ),
    **{name: supervision(name.lower()) for name in ("BEiT", "CLIP", "DINO", "MAE", "MoCo", "Supervised")},
    "ViTAnalysis": Life([], then=("test",)),  # there is nothing to train
}


def test_every_module_has_a_life() -> None:
    assert LIVES.keys() == set(import_module("lightning_modules").EXPORTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVES)
def test_a_life(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    life = LIVES[name]
    if name == "GeneratedPictureFilter":
        generate(tmp_path, *FEW)
        run, _, _ = filtered(tmp_path, "--model.instances=false")
        assert type(run.model).__name__ == name
        return
    if not life.start:
        run = cli.main(analysis(tmp_path, "analysis", ["FS", "Random"]))
        assert type(run.model).__name__ == name
        return
    common = [*QUIET, *life.limits, "--seed_everything=0", f"--runs_dir={tmp_path / 'runs'}"]
    if not life.trained:
        for subcommand in life.then:
            assert type(cli.main([subcommand, *life.start, *common]).model).__name__ == name
        return
    start = with_weights(life.start, tmp_path)
    no_test = ["--test_after_fit=false"]
    first = cli.main(["fit", *start, *common, *no_test, "--name=life"])
    assert type(first.model).__name__ == name
    steps = first.trainer.global_step
    assert steps > 0
    second = cli.main(["fit", *start, *life.longer, *common, *no_test, "--name=life", "--resume"])
    assert second.run_folder == first.run_folder
    assert second.trainer.global_step == 2 * steps
    checkpoint = f"--ckpt_path={second.run_folder / 'checkpoints' / 'last.ckpt'}"
    for subcommand in life.then:
        if subcommand == "predict" and name in ("LiFT", "GANDiscovery"):
            save_photo(tmp_path / "photos" / "a.jpg", 50, 40)
            common.append(f"--data.init_args.root={tmp_path / 'photos'}")
        cli.main([subcommand, *start, *life.longer, *common, checkpoint])
