import csv
import math

import pytest
import torch
import torchvision
from skimage.metrics import structural_similarity

from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from networks.generated import to_unit_range
from tests.callbacks.generation.cases import Skipping, TinyPairs, collate, run_test, sample, values
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def test_a_constant_error(tmp_path):
    callback = ReconstructionEvaluation(quantise=False)
    run_test(tmp_path, [callback], Skipping(shift=0.1, strength=0))
    found = values(callback)
    assert found["L1", "image"] == pytest.approx(255 * 0.05, rel=1e-5)
    assert found["PSNR", "image"] == pytest.approx(-20 * math.log10(0.05), rel=1e-5)
    assert found["L1", "reconstruction"] > found["L1", "image"]
    assert 0 < found["feature distance", "image"] < found["feature distance", "reconstruction"]
    assert not any(metric == "LPIPS" for metric, _ in found)
    assert {(row.protocol, row.image_size, row.count) for row in callback.results} == {("reconstruction", 16, 7)}
    with (tmp_path / "results" / "reconstruction.csv").open() as file:
        assert [float(row["value"]) for row in csv.DictReader(file)] == [row.value for row in callback.results]


def test_images_are_rounded_as_in_files(tmp_path):
    callback = ReconstructionEvaluation("uniform")
    run_test(tmp_path, [callback], Skipping(strength=0))
    batch = collate([sample(index) for index in range(7)])
    outputs = to_unit_range(Skipping(strength=0).generate(batch).image)
    rounded = [[(each * 255).round().byte().numpy() for each in images] for images in (outputs, batch["image"])]
    similar = [structural_similarity(a, b, channel_axis=0) for a, b in zip(*rounded, strict=True)]
    assert values(callback)["SSIM (uniform 7)", "image"] == pytest.approx(sum(similar) / 7, abs=1e-9)
    l1 = [abs(a.astype(float) - b).mean() for a, b in zip(*rounded, strict=True)]
    assert values(callback)["L1", "image"] == pytest.approx(sum(l1) / 7, rel=1e-6)


def test_equal_images(tmp_path):
    callback = ReconstructionEvaluation()
    run_test(tmp_path, [callback], Skipping(shift=0, strength=0, parts=False))
    found = values(callback)
    assert {method for _, method in found} == {"image"}
    assert (found["L1", "image"], found["PSNR", "image"]) == (0, math.inf)
    assert found["SSIM (gaussian 11)", "image"] == pytest.approx(1)
    assert found["feature distance", "image"] == pytest.approx(0, abs=1e-6)


def test_validation_is_logged_and_can_be_left_out(tmp_path):
    logged = []
    for validate in (True, False):
        trainer = quiet_trainer(tmp_path, [ReconstructionEvaluation(validate=validate)])
        trainer.fit(Skipping(), datamodule=TinyPairs())
        logged.append({name for name in trainer.callback_metrics if name.startswith("reconstruction/")})
    assert "reconstruction/L1/image" in logged[0]
    assert not logged[1]


def test_sizes_have_rows_of_their_own(tmp_path):
    callback = ReconstructionEvaluation()
    trainer = run_test(tmp_path, [callback], data=TinyPairs(sizes=(16, 32)))
    assert {(row.image_size, row.count) for row in callback.results} == {(16, 7), (32, 7)}
    assert {"reconstruction/L1/image@16", "reconstruction/L1/image@32"} <= trainer.callback_metrics.keys()


def test_says_that_it_is_not_lpips(tmp_path, capsys):
    state = torch.get_rng_state()
    run_test(tmp_path, [ReconstructionEvaluation()])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "lpips_weights" in line]
    assert "feature distance" in line
    callback = ReconstructionEvaluation()
    torch.set_rng_state(state)
    callback.setup(quiet_trainer(tmp_path, []), Skipping(), "predict")
    ReconstructionEvaluation().setup(None, Printing(), "test")
    assert torch.equal(torch.get_rng_state(), state), "a callback does not change what is drawn"


class Printing:
    def print(self, *_):
        pass


def test_with_weights_it_is_lpips(tmp_path):
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    callback = ReconstructionEvaluation(lpips_weights=str(tmp_path / "alexnet.pth"))
    run_test(tmp_path, [callback], data=TinyPairs(sizes=(64,), samples=2))
    assert {name for name, _ in values(callback)} == {"L1", "PSNR", "SSIM (gaussian 11)", "LPIPS"}


def test_wrong_weights_are_refused_before_the_run(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        ReconstructionEvaluation(lpips_weights=str(tmp_path / "none.pth")).setup(None, Printing(), "fit")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="AlexNet"):
        ReconstructionEvaluation(lpips_weights=str(tmp_path / "other.pth")).setup(None, Printing(), "fit")


def test_needs_a_module_that_generates(tmp_path):
    class Other(Skipping):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            return batch["image"]

    with pytest.raises(UserError, match="Other does not return"):
        run_test(tmp_path, [ReconstructionEvaluation()], Other())
    with pytest.raises(UserError, match="one of gaussian, uniform"):
        ReconstructionEvaluation(window="box")
