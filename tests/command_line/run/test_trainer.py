import json
from pathlib import Path

import pytest
import yaml

import cli
from callbacks.run.run_record import reason_of_precision
from command_line.run.trainer import HardwareTrainer
from tests.helpers.runs import words
from visionscapes import precision
from visionscapes.precision import Chosen


@pytest.fixture(params=["bf16-mixed", "32-true"])
def quick(request, monkeypatch):
    """Pass for a processor that is quick in a precision, and return it."""
    able = request.param == "bf16-mixed"
    abilities = ["avx512", "avx512_bf16"] if able else ["avx2"]
    monkeypatch.setattr(precision, "processor_abilities", lambda: abilities)
    monkeypatch.setattr("callbacks.run.run_record.processor_abilities", lambda: abilities)
    return request.param


def test_auto_is_what_the_hardware_is_quick_in(quick):
    trainer = HardwareTrainer(accelerator="cpu", precision="auto", logger=False, enable_checkpointing=False)
    assert trainer.precision == trainer.chosen_precision.precision == quick


def test_a_precision_that_is_given_is_taken(quick):
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    for given, expected in ((None, "32-true"), ("bf16-mixed", "bf16-mixed"), (32, "32-true"), ("64", "64-true")):
        trainer = HardwareTrainer(precision=given, **options)
        assert (trainer.precision, trainer.chosen_precision) == (expected, None)


@pytest.mark.filterwarnings("ignore:You passed")
def test_float16_on_a_processor_is_told_to_be_bfloat16(quick):
    trainer = HardwareTrainer(accelerator="cpu", precision="16-mixed", logger=False, enable_checkpointing=False)
    precision, reason = trainer.chosen_precision
    assert trainer.precision == precision == "bf16-mixed"
    assert reason_of_precision(trainer) == f"16-mixed: {reason}"
    assert ("slow" in reason) == (quick == "32-true")


def test_an_accelerator_that_is_given_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "command_line.run.trainer.quick_precision", lambda name: asked.append(name) or Chosen("32-true", "of a test")
    )
    HardwareTrainer(accelerator="cpu", precision="auto", logger=False)
    HardwareTrainer(precision="auto", logger=False)
    assert asked == ["cpu", "auto"]


def test_a_run_says_its_precision_in_one_line_and_in_its_manifest(tmp_path, capsys, quick):
    config = tmp_path / "auto.yaml"
    config.write_text("trainer: {precision: auto}\n")
    run = cli.main([*words(tmp_path, "a", "--config", str(config), "--trainer.max_epochs=1")])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("precision ")]
    assert line.startswith(f"precision {quick}: this processor (avx")
    assert line.endswith("; --trainer.precision overrides")
    manifest = json.loads((run.run_folder / "manifest.json").read_text())
    assert manifest["precision"] == quick == run.trainer.precision
    assert manifest["precision_reason"] == f"auto: {run.trainer.chosen_precision.reason}"
    assert manifest["hardware"]["cpu_abilities"][0] in line
    assert "precision: auto" in (run.run_folder / "cli_config.yaml").read_text()
    given = words(tmp_path, "b", "--config", str(config), "--trainer.max_epochs=1", "--trainer.precision=64")
    run = cli.main(given)
    assert run.trainer.precision == "64-true"
    assert json.loads((run.run_folder / "manifest.json").read_text())["precision_reason"] == "given"
    assert "precision 64" not in capsys.readouterr().out


def test_configs_that_run_anywhere_ask_for_no_bfloat16():
    """configs/hardware/bf16.yaml is for those who want it."""
    root = Path(cli.__file__).parent / "configs"
    paths = [path for path in root.rglob("*.yaml") if path.relative_to(root).parts[0] not in ("paper", "hardware")]
    precisions = {path.stem: (yaml.safe_load(path.read_text()).get("trainer") or {}).get("precision") for path in paths}
    assert set(precisions.values()) == {None, "32-true", "auto"}
    assert sorted(name for name, precision in precisions.items() if precision == "auto") == [
        "gan_discovery",
        "gan_discovery_diffusion",
        "gan_discovery_folders",
        "gen2det_inpainter",
        "grit",
    ]
