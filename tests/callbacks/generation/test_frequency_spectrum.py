import csv
import math

import pytest
import torch
from PIL import Image

from callbacks.generation.frequency_spectrum import FrequencySpectrum
from metrics.power_spectrum import azimuthal_power
from networks.generated import Generated
from tests.callbacks.generation.cases import Skipping, collate, run_test, sample, values
from visionscapes.errors import UserError


def test_curves_of_truth_image_and_parts(tmp_path):
    callback = FrequencySpectrum()
    run_test(tmp_path, [callback], Skipping(shift=0, strength=0))
    found = values(callback)
    methods = ("truth", "image", "reconstruction", "residual")
    assert {method for _, method in found} == set(methods)
    share = {method: found["power share upper half", method] for method in methods}
    assert share["reconstruction"] < share["truth"] < share["residual"]
    assert found["distance", "image"] == pytest.approx(0, abs=1e-5)
    assert found["distance upper half", "image"] == pytest.approx(0, abs=1e-5)
    assert found["distance upper half", "reconstruction"] > found["distance upper half", "residual"] > 0.001
    assert ("distance", "truth") not in found

    batch = collate([sample(index) for index in range(7)])
    wanted = azimuthal_power(batch["image"]).mean(0)
    assert found["power upper half", "truth"] == pytest.approx(float(wanted[5:].mean()))
    assert found["power lower half", "truth"] == pytest.approx(float(wanted[1:5].mean()))
    with (tmp_path / "results" / "spectrum_curves.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["curve"] == "truth"]
    assert [float(row["power"]) for row in rows] == pytest.approx(wanted.tolist())
    assert [float(row["frequency"]) for row in rows] == [radius / 8 for radius in range(9)]
    picture = tmp_path / "pictures" / "frequency_spectrum.png"
    with Image.open(picture) as image:
        assert image.width > 400


def test_parts_and_image_have_one_unit(tmp_path):
    """A generator whose parts add up without overlap of frequencies: so do their spectra."""

    class Waves(Skipping):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            if batch["task"] != "translation":
                return None
            x = torch.arange(16) * 2 * math.pi / 16
            slow, fast = (torch.cos(k * x).expand_as(batch["image"]) * 0.4 for k in (2, 6))
            return Generated(slow + fast, {"reconstruction": slow, "residual": fast})

    run_test(tmp_path, [FrequencySpectrum()], Waves())
    with (tmp_path / "results" / "spectrum_curves.csv").open() as file:
        curves: dict = {}
        for row in csv.DictReader(file):
            curves.setdefault(row["curve"], []).append(float(row["power"]))
    together = [a + b for a, b in zip(curves["reconstruction"], curves["residual"], strict=True)]
    assert together[1:] == pytest.approx(curves["image"][1:], rel=1e-5, abs=1e-6)
    assert curves["residual"][0] == pytest.approx(0, abs=1e-6)


def test_images_that_are_not_square_are_refused(tmp_path):
    class Wide(Skipping):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            batch["image"] = batch["image"][:, :, :8]
            return Generated(batch["image"], {})

    with pytest.raises(UserError, match="square"):
        run_test(tmp_path, [FrequencySpectrum()], Wide())
