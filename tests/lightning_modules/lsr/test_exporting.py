"""LSR as files: shots to codes, and codes with a drawing to an image."""

import pytest
import torch

from lightning_modules.lsr.exporting import CodesToHead, ShotsToCodes
from networks.generated import to_unit_range
from tests.helpers.exported import exported, same_as
from tests.lightning_modules.lsr.cases import lsr, lsr_fine_tuning, lsr_layout

CASES = {
    "layout": lsr,
    "segmentation": lambda: lsr(spatial="segmentation"),
    "oracle": lambda: lsr(spatial="oracle"),
    "landmarks": lambda: lsr(spatial="landmarks"),
    "none": lambda: lsr(spatial="none"),
    "pre-training": lsr_layout,
    "fine-tuned": lsr_fine_tuning,
}


@pytest.mark.parametrize("name", CASES)
def test_both_networks_together_are_the_module(name):
    module = CASES[name]().eval()
    encoder, generator = module.exportable()
    shots, drawings = encoder.example()
    drawing, *more = generator.example()
    labels = more[-1] if name == "oracle" else None
    with torch.no_grad():
        codes = encoder.network(shots, drawings)
        codes = [codes] if isinstance(codes, torch.Tensor) else list(codes)
        assert len(codes) == len(encoder.outputs)
        made = generator.network(drawing, *codes, *[each for each in [labels] if each is not None])
        image, layout = made if isinstance(made, tuple) else (made, None)
        for place in range(len(shots)):
            known = None if labels is None else labels[place : place + 1]
            theirs = module.reenact(shots[place], drawings[place], drawing[place : place + 1], labels=known)
            torch.testing.assert_close(image[place], theirs.images[0], atol=1e-5, rtol=0)
            if layout is not None:
                torch.testing.assert_close(layout[place], theirs.layout[0], atol=1e-5, rtol=0)
    assert image.std() > 0.01


def test_each_network_has_its_own_weights_alone():
    module = lsr()
    whole = {id(each) for each in module.generator.parameters()}
    parts = [{id(each) for each in part.network.parameters()} for part in module.exportable()]
    assert parts[0] | parts[1] == whole
    assert not parts[0] & parts[1]


def test_any_number_of_shots():
    module = lsr().eval()
    encoder, _ = module.exportable()
    assert isinstance(encoder.network, ShotsToCodes)
    assert isinstance(module.exportable()[1].network, CodesToHead)
    same_as(encoder, lambda shots, drawings: tuple(module.generator.encode(shots, drawings)))
    assert {inputs[0].shape[1] for inputs in encoder.checks()} == {3, 1}


def test_images_are_shown_in_their_range():
    _, generator = lsr().exportable()
    drawing, *codes = generator.example()
    with torch.no_grad():
        image, _ = generator.network(drawing, *[100 * each for each in codes])
    assert 0 <= image.min() < 0.01 < 0.99 < image.max() <= 1
    assert torch.equal(to_unit_range(2 * image - 1).clamp(0, 1), to_unit_range(2 * image - 1))


@pytest.mark.slow  # 25 s each
@pytest.mark.parametrize("name", ["layout", "oracle", "none", "pre-training"])
def test_in_both_formats(name, tmp_path):
    files = {f"lsr_{part}.{kind}" for part in ("encoder", "generator") for kind in ("onnx", "pt2")}
    assert set(exported(CASES[name](), tmp_path)) == files
