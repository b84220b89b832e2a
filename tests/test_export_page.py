"""README and docs/export.md on exporting: their lines run, and what they say of detectors is measured."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_modules.lift.module import LiFT
from networks.vit_features import ViTFeatures
from tests.helpers.exported_detectors import BEGIN, DETECTORS, PAGE, measured, on_the_page
from tests.helpers.runs import ROOT
from tests.helpers.tiny_vit import MODEL, TINIEST
from visionscapes.exporting.export import export_networks


@pytest.mark.slow  # 15 s
def test_the_lines_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    lift = LiFT(ViTFeatures(MODEL, weights=None, model_args=TINIEST)).eval()
    export_networks(lift, tmp_path / "exported", say=str)
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "cat.jpg")
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Export\n") : text.index("## How runs behave\n")]
    onnx, pt2 = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict = {}
    exec(onnx, names)
    found = names["features"]
    exec(pt2, names)
    with torch.no_grad():
        theirs = lift.predict_step({"image": torch.from_numpy(names["picture"].transpose(2, 0, 1)[None].copy())}, 0)
    assert found.shape == tuple(theirs.shape) == (1, 16, 10, 14)
    np.testing.assert_allclose(found, theirs, atol=1e-5)
    torch.testing.assert_close(names["features"], theirs, atol=1e-5, rtol=0)


def test_the_page_has_a_line_for_every_family():
    assert list(on_the_page()) == list(DETECTORS)
    assert PAGE.read_text().count(BEGIN) == 1


@pytest.mark.slow  # a minute each
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", DETECTORS)
def test_what_the_page_says_of_a_family_is_so(family):
    assert measured(family) == on_the_page()[family]
