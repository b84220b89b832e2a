"""The figures do not depend on the number of processes, nor on how many batches each of them has."""

from datetime import timedelta

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy

from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.frequency_spectrum import FrequencySpectrum
from callbacks.generation.generator_health import GeneratorHealth
from callbacks.generation.noise_variation import NoiseVariation
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.generation.sample_grid import SampleGrid
from tests.callbacks.generation.cases import Skipping, TinyPairs, run_test
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer

SIZES = (16, 32)


def evaluations():
    return [
        ReconstructionEvaluation(),
        FrechetDistance(),
        NoiseVariation(draws=3),
        FrequencySpectrum(),
        GeneratorHealth(),
        SampleGrid(),
    ]


def rows(callbacks):
    return [row for each in callbacks for row in getattr(each, "results", ())]


def one_rank(rank, root):
    callbacks = evaluations()
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))  # rather fail than hang
    trainer = quiet_trainer(root, callbacks, strategy=strategy, devices=2, use_distributed_sampler=False)
    # Unequal shares: the second process has one sample of one size, and none of the other.
    trainer.test(Skipping(), datamodule=TinyPairs(9, SIZES, 3, [[0, 2, 3, 4, 5, 6, 7, 8], [1]]), verbose=False)
    torch.save([vars(row) for row in rows(callbacks)], f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(tmp_path):
    one = evaluations()
    run_test(tmp_path / "one", one, data=TinyPairs(9, SIZES, 4))
    two_processes(one_rank, str(tmp_path))
    expected = [vars(row) for row in rows(one)]
    assert len(expected) > 40
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert [list(row.values())[:4] for row in found] == [list(row.values())[:4] for row in expected]
        for mine, wanted in zip(found, expected, strict=True):
            assert mine["count"] == wanted["count"]
            assert mine["value"] == pytest.approx(wanted["value"], rel=1e-5, abs=1e-5, nan_ok=True)
            assert mine["standard_error"] == pytest.approx(wanted["standard_error"], rel=1e-4, nan_ok=True)
