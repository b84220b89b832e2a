"""Whatever options are called today, the committed records stay those of the runs that the tables name."""

import json
from collections import Counter
from functools import cache

import pytest

from experiments.loading import load_tables
from experiments.records import Record, Records, digest_of, run_id
from experiments.tables import FOLDER, Run

FILES = {path.stem: path for path in sorted(FOLDER.glob("*/results/*.json"))}
# Of the runs whose options have moved into groups since, as they were recorded under the old names.
KNOWN = {
    (("configs/gan_discovery.yaml",), (("model.init_args.stages.percentile", "0.7"),)): "gan_discovery",
    (
        ("configs/grit.yaml",),
        (("model.init_args.generator.noise", "false"), ("model.init_args.generator.residual", "false")),
    ): "grit",
}


@cache
def recorded() -> dict[str, Record]:
    """Return the records that the tables find, by name."""
    found = {}
    for table in load_tables().values():
        records = Records(FOLDER / table.method / "results")
        for scale, grid in table.grids.items():
            for run in grid.runs.values():
                for seed in records.seeds(run, scale):
                    record = records.find(run, scale, seed)
                    assert record is not None
                    found[record.id] = record
    return found


def test_every_record_is_found_again():
    assert len(FILES) >= 305
    assert sorted(recorded()) == sorted(FILES)


def test_no_record_is_outdated():
    """Configurations say what they said, whatever its options are called."""
    stale = {name: files for name, record in recorded().items() if (files := record.outdated())}
    assert stale == {}
    methods = Counter(FILES[name].parts[-3] for name in recorded())
    assert {"gan_discovery", "grit", "lift", "sparsedet", "vit_analysis"} <= methods.keys()


@pytest.mark.parametrize(("parts", "method"), KNOWN.items())
def test_a_run_has_the_name_that_it_was_recorded_under(parts, method):
    configs, overrides = parts
    name = run_id(Run("new", "fit", configs, overrides), "embedded", 0)
    assert (FOLDER / method / "results" / f"{name}.json").is_file()
    old = tuple((key.replace("stages.", "").replace("generator.", ""), value) for key, value in overrides)
    assert run_id(Run("old", "fit", configs, old), "embedded", 0) == name
    words = json.loads((FOLDER / method / "results" / f"{name}.json").read_text())["command"]
    assert [f"--{key}={value}" for key, value in old] == [word for word in words if "model.init_args" in word]


def test_other_values_are_another_run():
    names = {
        run_id(Run("a run", "fit", ("configs/grit.yaml",), ((key, value),)), "embedded", 0)
        for key in ("model.init_args.generator.base", "model.init_args.discriminator.base")
        for value in ("4", "8")
    }
    assert len(names) == 4


def test_the_digest_of_a_file_is_that_of_its_old_names(tmp_path):
    texts = {
        "old": "model: {class_path: lightning_modules.SPADE, init_args: {base: 4, lr: 1, lambda_kl: 2}}",
        "new": "model:\n  class_path: lightning_modules.SPADE\n  init_args:\n    generator: {base: 4} # wide\n"
        "    lambda_kl: 2\n    optimizer:\n      lr: 1\n",
        "other": "model: {class_path: lightning_modules.SPADE, init_args: {discriminator: {base: 4}, lambda_kl: 2}}",
        "none": "model: {class_path: lightning_modules.LiFT, init_args: {generator: {base: 4}}}",
        "flat": "model: {class_path: lightning_modules.LiFT, init_args: {base: 4}}",
    }
    digests = {}
    for name, text in texts.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        digests[name] = digest_of(path)
    assert digests["old"] == digests["new"]
    assert len(set(digests.values())) == 4


def test_the_digest_of_auto_is_that_of_the_precision_before_it(tmp_path):
    """What a run computed in stands in its record."""
    digests = {}
    for precision in ("auto", "bf16-mixed", "32-true", "16-mixed"):
        path = tmp_path / f"{precision}.yaml"
        path.write_text(f"trainer: {{precision: {precision}, max_epochs: 3}}")
        digests[precision] = digest_of(path)
    assert digests["auto"] == digests["bf16-mixed"]
    assert len(set(digests.values())) == 3
    assert {record.precision for record in recorded().values()} == {"32-true", "bf16-mixed"}
