import json
import re

import pytest
import torch

from tests.helpers.exported import Offering, OneSize, Unfollowable, blurred, part
from visionscapes.errors import UserError
from visionscapes.exporting import export, programs
from visionscapes.exporting.export import difference, export_networks


def test_files_are_left_with_what_describes_them(tmp_path):
    told, module = [], blurred().train()
    written = export_networks(module, tmp_path / "new", about={"method": "Blurred"}, say=told.append)
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["blurred.json", "blurred.onnx", "blurred.pt2"]
    assert [each.path.suffix for each in written] == [".onnx", ".pt2"]
    assert all(0 <= each.difference < 1e-6 < each.seconds for each in written)
    content = json.loads((tmp_path / "new" / "blurred.json").read_text())
    assert content["inputs"]["images"]["shape"] == ["batch", 3, "height", "width"]
    assert content["outputs"]["means"] == {"shape": ["batch", 2], "meaning": "of the maps"}
    assert content["method"] == "Blurred"
    assert content["differences"] == {each.path.suffix[1:]: each.difference for each in written}
    assert re.fullmatch(r"blurred: followed in \d+\.\d s", told[0])
    assert re.search(r"blurred\.onnx: 0\.0 MB, .* s; differs from the network by .* at 3x3x9x5, 1x3x6x12$", told[1])
    assert module.training, "as it was"
    assert module.networks[0].norm.training


def test_a_file_that_is_off_is_not_left(tmp_path, monkeypatch):
    monkeypatch.setattr(
        programs, "program_of", lambda path: lambda inputs: [1.001 * each for each in expected(*inputs)]
    )
    module = blurred()
    expected = module.eval().networks[0]
    (tmp_path / "blurred.pt2").write_bytes(b"an older one")
    with pytest.raises(UserError, match=r"blurred\.pt2 cannot be exported: its values differ by .* from those of the"):
        export_networks(module, tmp_path, formats=["pt2"], say=str)
    assert [each.name for each in tmp_path.iterdir()] == ["blurred.pt2"]
    assert (tmp_path / "blurred.pt2").read_bytes() == b"an older one"


def test_it_is_held_against_what_the_module_itself_computes(tmp_path):
    network = blurred().networks[0]
    other = part(network, reference=lambda images, threshold: tuple(2 * each for each in network(images, threshold)))
    with pytest.raises(UserError, match="its values differ by"):
        export_networks(Offering(other), tmp_path, formats=["pt2"], say=str)
    assert not list(tmp_path.iterdir())


def test_a_size_that_cannot_vary_is_fixed_and_told(tmp_path):
    told = []
    export_networks(Offering(part(OneSize(), "one")), tmp_path, formats=["pt2"], say=told.append)
    assert told[0].startswith("note: width cannot vary: ")
    assert json.loads((tmp_path / "one.json").read_text())["inputs"]["images"]["shape"] == ["batch", 3, "height", 16]


def test_what_cannot_be_followed_is_an_error_unless_it_is_optional(tmp_path):
    with pytest.raises(UserError, match="stuck cannot be exported: "):
        export_networks(Offering(part(Unfollowable(), "stuck")), tmp_path, formats=["pt2"], say=str)
    told = []
    parts = [part(Unfollowable(), "stuck", optional=True), *blurred().parts]
    written = export_networks(Offering(*parts), tmp_path, formats=["pt2"], say=told.append)
    assert [each.path.name for each in written] == ["blurred.pt2"]
    assert any(line.startswith("left out: stuck cannot be exported: ") for line in told)


def test_a_module_without_networks_is_refused(tmp_path):
    with pytest.raises(UserError, match="Linear offers no networks to export"):
        export_networks(torch.nn.Linear(1, 1), tmp_path)


def test_packages_are_asked_for_before_anything_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    monkeypatch.setattr(programs, "to_program", None)
    with pytest.raises(UserError, match="pip install"):
        export_networks(blurred(), tmp_path)


def test_the_code_of_a_compiled_network_is_followed(tmp_path):
    module = blurred()
    network = module.networks[0]
    network._compiled_call_impl = broken = lambda *_: pytest.fail("what was compiled ran")
    (written,) = export_networks(module, tmp_path, formats=["pt2"], say=str)
    assert written.difference < 1e-6
    assert network._compiled_call_impl is broken, "as it was"


class TestDifference:
    def test_is_absolute_for_small_values_and_a_share_of_large_ones(self):
        small, large = torch.tensor([0.5, 0.25]), torch.tensor([-2000.0, 1.0])
        assert difference([small + 0.01], [small]) == pytest.approx(0.01)
        assert difference([large + 2], [large]) == pytest.approx(0.001)
        assert difference([small + 0.01, large], [small, large]) == pytest.approx(0.01)

    def test_of_another_shape_or_of_no_number_is_infinite(self):
        assert difference([torch.zeros(2)], [torch.zeros(1, 2)]) == float("inf")
        assert difference([torch.tensor([float("nan")])], [torch.zeros(1)]) == float("inf")
        assert difference([torch.tensor([1.0])], [torch.tensor([float("inf")])]) == float("inf")
        assert difference([torch.tensor([float("inf")])], [torch.tensor([float("inf")])]) == 0
        assert difference([torch.zeros(0, 4)], [torch.zeros(0, 4)]) == 0


def test_the_tolerance_is_small():
    assert export.TOLERANCE == 1e-4
