"""Every configuration and every exported module on the pretended GPU of tests/helpers/pretended_cuda.

Each run is a test that exists already, started with the plugin in a process of its own. It fails

- where the run itself or a GPU would fail,
- where CUDA adds up in an order that varies and docs/varying_on_gpus.yaml does not name the operator,
- where a training step waits for the GPU more often than tests/accepted_waiting.yaml allows.

What a failure prints is what those files lack; whether it goes there or is mended is to be thought about.
"""

import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.configs import test_configs
from tests.helpers.pretended_cuda import guard
from tests.helpers.pretended_cuda.findings import FAULTS, VARYING, WAITING
from tests.helpers.runs import ROOT
from tests.test_lives import LIVES

OPERATORS = yaml.safe_load((ROOT / "docs/varying_on_gpus.yaml").read_text())
ACCEPTED = yaml.safe_load((ROOT / "tests/accepted_waiting.yaml").read_text())
SPARSEDET = "tests/configs/test_detection.py::test_sparsedet_and_what_it_is_compared_with"
VITS = "tests/configs/test_vit_analysis"
DISCOVERY = "tests/configs/test_gan_discovery.py"
DUBBED = "tests/configs/test_diff2lip_paper.py"
REENACTED = "tests/configs/test_lsr"
# Configurations that tests/configs/test_configs.py names another test for.
ELSEWHERE = {
    **{
        config: f"tests/configs/test_lift_evaluations.py::test_evaluation_writes_its_figures[{Path(config).stem}]"
        for config in test_configs.EVALUATIONS
    },
    **{
        config: f"tests/configs/test_grit.py::test_the_thesis_on_replicas[{config}]"
        for config in test_configs.TRANSLATION
    },
    "configs/grit.yaml": "tests/configs/test_grit.py::test_the_embedded_world",
    "configs/detector.yaml": "tests/configs/test_detection.py::test_a_detector_of_the_collection_on_scenes",
    "configs/gen2det.yaml": "tests/configs/test_gen2det.py::test_it_trains_on_either_kind[1.0]",
    "configs/gen2det_filter.yaml": (
        "tests/configs/test_gen2det_filter.py::test_annotations_are_filtered_by_the_detector"
    ),
    "configs/paper/gen2det_lvis.yaml": "tests/configs/test_gen2det.py::test_lvis[1.0]",
    "configs/paper/gen2det_centernet2.yaml": (
        "tests/configs/test_gen2det.py::test_centernet2_learns_how_frequent_classes_are"
    ),
    "configs/paper/gen2det_coco.yaml": "tests/configs/test_gen2det.py::test_coco[sampling-fragment0]",
    "configs/paper/gen2det_ld_coco.yaml": "tests/configs/test_gen2det.py::test_coco[sampling-fragment1]",
    "configs/paper/gen2det_coco_o.yaml": "tests/configs/test_gen2det_paper.py::test_coco_o",
    "configs/gen2det_generate.yaml": "tests/configs/test_gen2det_generate.py::test_scenes_are_drawn_anew",
    "configs/gan_discovery_diffusion.yaml": (
        "tests/configs/test_gan_discovery_diffusion.py::test_the_file_knows_how_it_was_made_and_is_a_network"
    ),
    "configs/gen2det_inpainter.yaml": (
        "tests/configs/test_gen2det_inpainter.py::test_the_file_knows_how_it_was_made_and_is_a_network"
    ),
    **dict.fromkeys(
        ("configs/vitdet.yaml", "configs/vitdet_lift.yaml", "configs/lift_vitdet.yaml"),
        "tests/configs/test_vitdet.py::test_on_scenes",
    ),
    **dict.fromkeys(
        ("configs/paper/vitdet.yaml", "configs/paper/vitdet_lift.yaml", "configs/paper/lift_vitdet.yaml"),
        "tests/configs/test_vitdet.py::test_on_coco",
    ),
    "configs/reports/detection.yaml": "tests/configs/test_detection.py::test_the_report_on_a_detector",
    "configs/sparsedet.yaml": f"{SPARSEDET}[SparseDet]",
    "configs/sparsedet_backbone.yaml": "tests/configs/test_detection.py::test_the_backbone_fits_the_detector",
    **{
        config: f"tests/configs/test_detection.py::test_coco[{config}]"
        for config in ("configs/paper/sparsedet_coco.yaml", "configs/paper/detector_coco.yaml")
    },
    "configs/paper/sparsedet_voc.yaml": "tests/configs/test_detection.py::test_voc[fragment0]",
    "configs/paper/sparsedet_ssl.yaml": "tests/configs/test_detection.py::test_voc[fragment1]",
    "configs/paper/detector_lvis.yaml": "tests/configs/test_detection.py::test_lvis",
    "configs/paper/gan_discovery.yaml": f"{DISCOVERY}::test_the_data_are_those_of_table_4_1",
    "configs/paper/gan_discovery_online.yaml": (f"{DISCOVERY}::test_online_sources_come_in_the_order_of_section_4_5_2"),
    "configs/gan_discovery_folders.yaml": (
        f"{DISCOVERY}::test_folders_of_ones_own_are_trained_on_tested_and_predicted"
    ),
    "configs/diff2lip.yaml": "tests/configs/test_diff2lip.py::test_training_ends_with_figures_of_both_settings",
    **{
        config: f"{DUBBED}::test_the_thesis_on_replicas[{config}]"
        for config in ("configs/paper/diff2lip.yaml", "configs/paper/wav2lip.yaml")
    },
    "configs/paper/diff2lip_lrw.yaml": f"{DUBBED}::test_the_thesis_on_replicas[configs/paper/diff2lip.yaml]",
    "configs/paper/diff2lip_256.yaml": f"{DUBBED}::test_256_pixels",
    "configs/lsr_layout.yaml": (
        f"{REENACTED}.py::test_the_first_stage_ends_with_the_accuracy_of_layouts_beside_that_of_their_oracle"
    ),
    "configs/lsr.yaml": f"{REENACTED}.py::test_the_second_stage_ends_with_figures_of_one_and_four_shots_and_pictures",
    "configs/lsr_finetune.yaml": f"{REENACTED}.py::test_the_third_stage_evaluates_the_person",
    "configs/paper/lsr_layout.yaml": f"{REENACTED}_paper.py::test_the_first_stage",
    "configs/paper/lsr_voxceleb2.yaml": f"{REENACTED}_paper.py::test_the_full_pipeline",
    "configs/paper/lsr_finetune.yaml": f"{REENACTED}_paper.py::test_the_third_stage",
    **{
        f"configs/paper/lsr_{row}.yaml": f"{REENACTED}_paper.py::test_rows_of_table_6_2[{row}]"
        for row in ("unet", "spade", "segmentation", "oracle")
    },
    "configs/syncnet.yaml": "tests/configs/test_syncnet.py::test_the_weights_know_how_they_were_made_and_are_a_network",
    **dict.fromkeys(
        test_configs.SYNCNET[1:], "tests/configs/test_syncnet.py::test_the_recipe_of_wav2lip_on_prepared_clips"
    ),
    "configs/vit_analysis.yaml": f"{VITS}.py::test_the_analysis_and_one_more_model",
    "configs/paper/vit_analysis.yaml": f"{VITS}_paper.py::test_it_runs_on_replicas_of_all_its_data",
}
NOT_DRIVEN = {
    **{
        f"configs/paper/gen2det_{stage}_{data}.yaml": "its test draws by GLIGEN of diffusers, which pins memory"
        for stage in ("generate", "filter")
        for data in ("lvis", "coco")
    },
    "configs/hardware/gpu.yaml": "asks for a real GPU",
    "configs/hardware/slurm.yaml": "asks for GPUs on two machines",
    "configs/hardware/ddp.yaml": "starts processes of its own, whose exchange is not pretended",
    "configs/logging/wandb.yaml": "a logger alone, on top of any other configuration",
    "configs/sweeps/lift.yaml": "a search over configs/lift.yaml",
}
# Of what no configuration and no module above goes through: other detectors, branches that need weights, determinism.
FURTHER = {
    "other detectors": "tests/helpers/further_runs.py::test_detectors_of_the_collection",
    **{
        name: f"tests/helpers/further_runs.py::test_{name}"
        for name in (
            "vitdet",
            "centernet2",
            "perceptual_losses",
            "visual_tokens",
            "loaded_modules_answer_on_the_processor",
        )
    },
    "losses of generated pictures": "tests/configs/test_gen2det_filter.py::test_the_hardest_copies_are_kept",
    "the detector in training chooses": (
        "tests/configs/test_gen2det.py::test_the_detector_in_training_chooses_among_copies"
    ),
    "--trainer.deterministic": "tests/helpers/deterministic_runs.py",
    "planted faults": "tests/helpers/planted_faults.py",
}
RUNS: dict[str, str] = {
    **{config: f"tests/configs/test_configs.py::test_config[{config}]" for config in test_configs.CASES},
    **ELSEWHERE,
    **{name: f"tests/test_lives.py::test_a_life[{name}]" for name in LIVES},
    **FURTHER,
}
RUNS = {name: node for name, node in RUNS.items() if name not in NOT_DRIVEN}


def test_every_configuration_is_driven_or_says_why_not() -> None:
    assert set(test_configs.CONFIGS) <= RUNS.keys() | NOT_DRIVEN.keys()
    assert not RUNS.keys() & NOT_DRIVEN.keys()


def test_every_module_is_driven() -> None:
    assert set(import_module("lightning_modules").EXPORTS) <= RUNS.keys()


@pytest.fixture(scope="module")
def _compiled() -> None:
    reason = guard.missing()
    if reason is not None:
        pytest.skip(reason)
    guard.build()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("name", RUNS)
def test_on_a_gpu(name: str, tmp_path: Path) -> None:
    report = run(RUNS[name], tmp_path)
    assert [each for each in report["findings"] if each["kind"] in FAULTS] == []
    assert new_operators(report) == {}
    assert too_much_waiting(report) == {}


def run(node: str, folder: Path) -> dict[str, Any]:
    """Return the findings of a test that has to pass on the pretended device."""
    file = folder / "findings.json"
    plugin = ["-p", "tests.helpers.pretended_cuda.plugin", f"--pretended-cuda={file}"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *plugin, node]
    own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # of a GPU that is there nothing is seen
    done = subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout.splitlines()[-1]
    return json.loads(file.read_text())


def new_operators(report: dict[str, Any]) -> dict[str, set[str]]:
    """Return the operators that the list of the documentation lacks, by the module that it lacks them for."""
    new = defaultdict(set)
    for each in report["findings"]:
        module = each["module"] or "elsewhere"
        if each["kind"] == VARYING and each["what"] not in OPERATORS.get(module, []):
            new[module].add(each["what"])
    return dict(new)


def too_much_waiting(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return how often a step waits where it may not, or not so often, by module and place."""
    worse = {
        module: {where: times for where, times in places.items() if times > ACCEPTED.get(module, {}).get(where, 0)}
        for module, places in waiting(report).items()
    }
    return {module: places for module, places in worse.items() if places}


def waiting(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return how often a training step waits for the GPU, rounded up, by module and place (file and function)."""
    total: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in report["findings"]:
        if each["kind"] == WAITING and each["module"]:
            total[each["module"]][place(each["where"])] += each["times"]
    steps = report["steps"]
    return {
        module: {where: math.ceil(times / max(steps.get(module, 0), 1)) for where, times in places.items()}
        for module, places in total.items()
    }


def place(where: str) -> str:
    """Return file and function of a line, or the package alone if it is of a library."""
    line, _, function = where.partition(" ")
    file = line.partition(":")[0]
    return f"{file} {function}" if (ROOT / file).exists() else file.partition("/")[0]
