"""GRIT and its baselines as files: with the same noise they give what the modules give."""

import pytest
import torch

from lightning_modules.grit.exporting import exported_grit, exported_pix2pixhd, exported_spade
from networks.generated import to_unit_range
from tests.helpers.exported import exported, same_as
from tests.lightning_modules.grit.cases import CLASSES, SIZE, grit, pix2pixhd, spade, with_noise

EDGES = {"classes": None, "condition_channels": 2}
OTHER = {"composition": "cnn", "content_fc": True, "style_condition": True, "full_resolution_skip": False}
CASES = {
    "grit": lambda: with_noise(grit()),
    "grit, other options": lambda: with_noise(grit(**OTHER)),
    "grit of edges": lambda: with_noise(grit(**EDGES)),
    "grit, one output": lambda: with_noise(grit(residual=False)),
    "grit without noise": lambda: grit(noise=False, residual=False),
    "spade": lambda: stronger(spade()),
    "spade of edges": lambda: stronger(spade(**EDGES)),
    "pix2pixhd": lambda: stronger(pix2pixhd()),
    "pix2pixhd of edges": lambda: stronger(pix2pixhd(**EDGES)),
}


def stronger(module):
    """Return a module whose weights are large enough for its images to differ: new ones are of 0.02."""
    with torch.no_grad():
        for name, parameter in module.generator.named_parameters():
            parameter.mul_(40 if name.startswith(("first", "last")) else 4)
    return module


def rendered(module):
    """Return what the module itself makes of the inputs of the exported network."""

    def render(condition, style, *noise):
        batch = {"labels" if module.classes else "condition": condition, "style": style}
        generator, seen = module.shown, module.condition(batch)
        if type(module).__name__ == "GRIT":
            made = generator(seen, generator.style(module.to_network(style), seen), list(noise) or None)
            return to_unit_range(made.image), *made.parts.values()
        if type(module).__name__ == "SPADE":
            mean, log_variance = generator.encode(module.to_network(style))
            image = generator(module.unsigned(seen), mean + torch.exp(0.5 * log_variance) * noise[0])
            return to_unit_range(image)
        if noise:
            batch["style_labels"] = noise[0]
        return to_unit_range(module.generate(batch).image)

    return render


@pytest.mark.parametrize("name", CASES)
def test_the_network_gives_what_the_module_gives(name):
    module = CASES[name]().eval()
    (part,) = module.exportable()
    same_as(part, rendered(module))
    if "edges" in name:
        assert part.inputs["condition"].shape == ("batch", 2, SIZE, SIZE)
    else:
        assert part.inputs["labels"].described()["range"] == [0, CLASSES - 1]


def test_noise_is_an_input_of_every_layer_that_has_any():
    (part,) = exported_grit(grit())
    assert [name for name in part.inputs if name.startswith("noise")] == ["noise_0", "noise_1", "noise_2", "noise_3"]
    assert [part.inputs[f"noise_{place}"].shape[-1] for place in range(4)] == [8, 8, 16, 16]
    assert list(part.outputs) == ["image", "reconstruction", "residual"]
    assert list(exported_grit(grit(noise=False, residual=False))[0].inputs) == ["labels", "style"]
    assert list(exported_spade(spade())[0].inputs) == ["labels", "style", "noise"]
    assert list(exported_pix2pixhd(pix2pixhd())[0].inputs) == ["labels", "style", "style_labels"]


@pytest.mark.slow  # 15 s each
@pytest.mark.parametrize("name", CASES)
def test_in_both_formats(name, tmp_path):
    module = CASES[name]()
    file = type(module).__name__.lower()
    assert set(exported(module, tmp_path)) == {f"{file}.onnx", f"{file}.pt2"}
