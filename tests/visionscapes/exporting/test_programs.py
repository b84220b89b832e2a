import json
import logging
import warnings

import pytest
import torch

from tests.helpers.exported import Blurred, blurred, part
from visionscapes.errors import UserError
from visionscapes.exporting import programs


@pytest.fixture(scope="module")
def program():
    """Return the part, and the program that torch.export makes of it."""
    (offered,) = blurred().eval().exportable()
    return offered, programs.to_program(offered)


def test_outputs_are_described_by_the_names_of_the_sizes(program):
    offered, followed = program
    assert programs.output_shapes(followed, offered) == [["batch", 2, "height", "width"], ["batch", 2]]


def test_what_is_a_multiple_is_named_as_it_is():
    class Halved(torch.nn.Module):
        def forward(self, images):
            return images[..., ::2] if images.shape[2] else images

    from tests.helpers.exported import SIZES
    from visionscapes.exporting.parts import Size

    offered = part(Halved(), sizes={**SIZES, "width": Size(8, (12, 4), multiple=4)})
    followed = programs.to_program(offered)
    assert programs.output_shapes(followed, offered)[0][:3] == ["batch", 3, "height"]
    assert "width" in programs.output_shapes(followed, offered)[0][3]


def test_two_sides_that_are_multiples_of_one_number_keep_their_names(tmp_path):
    import onnx

    from tests.helpers.exported import SIZES
    from visionscapes.exporting.parts import Size

    sides = {"height": Size(8, (12, 4), multiple=4), "width": Size(12, (8, 16), multiple=4)}
    offered = part(torch.nn.AvgPool2d(2), sizes={**SIZES, **sides})
    programs.write_onnx(programs.to_program(offered), offered, tmp_path / "a.onnx", about={})
    (given,) = onnx.load(tmp_path / "a.onnx").graph.input
    sizes = [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "height", "width"]


def test_a_program_is_written_and_read(program, tmp_path):
    offered, followed = program
    programs.write_program(followed, tmp_path / "a.pt2", {"method": "Blurred"})
    run = programs.program_of(tmp_path / "a.pt2")
    for inputs in offered.checks():
        for ours, theirs in zip(run(inputs), programs.eager(offered.network, inputs), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)
    held = {programs.ABOUT: ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=held)
    assert json.loads(held[programs.ABOUT]) == {"method": "Blurred"}


def test_a_model_of_onnx_has_our_names_and_values(program, tmp_path):
    import onnx

    offered, followed = program
    programs.write_onnx(followed, offered, tmp_path / "a.onnx", about={"method": "Blurred"})
    model = onnx.load(tmp_path / "a.onnx")
    sizes = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {
        "images": ["batch", 3, "height", "width"],
        "threshold": ["batch"],
        "maps": ["batch", 2, "height", "width"],
        "means": ["batch", 2],
    }
    assert json.loads({each.key: each.value for each in model.metadata_props}["visionscapes"]) == {"method": "Blurred"}
    run = programs.onnx_of(tmp_path / "a.onnx")
    for inputs in offered.checks():
        for ours, theirs in zip(run(inputs), programs.eager(offered.network, inputs), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_more_weights_than_an_onnx_file_holds_are_refused(program, tmp_path, monkeypatch):
    offered, followed = program
    monkeypatch.setattr(programs, "LARGEST_ONNX", 100)
    with pytest.raises(UserError, match="format pt2"):
        programs.write_onnx(followed, offered, tmp_path / "a.onnx", about={})


def test_missing_packages_are_named_with_what_to_install(monkeypatch):
    programs.check_packages()
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match=r"onnxscript is not installed: pip install 'visionscapes\[export\]'"):
        programs.check_packages()


def test_quiet_keeps_everything_but_errors(capsys, caplog):
    logger = logging.getLogger("an exporter")
    with programs.quiet():
        print("chatter")
        warnings.warn("chatter", stacklevel=1)
        logger.warning("chatter")
        logger.error("an error")
    logger.warning("heard again")
    assert capsys.readouterr().out == ""
    assert caplog.messages == ["an error", "heard again"]


def test_the_network_is_followed_in_the_mode_it_is_in():
    """Batch norm of a training network would depend on the batch: exporting is for those who say eval() first."""
    network = Blurred().eval()
    offered = part(network)
    inputs = offered.checks()[0]
    followed = programs.running(programs.to_program(offered))(inputs)
    alone = programs.eager(network, [each[:1] for each in inputs])
    assert torch.allclose(followed[0][:1], alone[0], atol=1e-6)
