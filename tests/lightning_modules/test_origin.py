import pytest
import torch
from safetensors.torch import save_file
from typing_extensions import override

from lightning_modules.origin import DRAWN_ONLY, KnowsOrigin, in_words, told_by_file
from visionscapes.errors import UserError


class Measured(KnowsOrigin):
    """Fits weights that were trained on the same box."""

    box = (2, 3)

    @override
    def built_for(self):
        return {"box": list(self.box), "kind": "square"}

    @override
    def check_origin(self, told):
        box = told.get("box")
        if box is not None and in_words(box) != in_words(self.box):
            raise UserError(f"trained on {in_words(box)}")


@pytest.fixture
def module():
    found = Measured()
    found.trained_on_drawn = True
    return found


def checkpoint_of(module):
    found = {"state_dict": {}}
    module.on_save_checkpoint(found)
    return found


def test_a_checkpoint_says_what_it_was_trained_on(module):
    kept = checkpoint_of(module)
    assert (kept["trained_on_drawn"], kept["box"], kept["kind"]) == (True, [2, 3], "square")
    assert "made_of" in kept, "what all methods keep"
    again = Measured()
    again.on_load_checkpoint(kept)
    assert again.trained_on_drawn is True
    with pytest.raises(UserError, match="trained on 2 4"):
        Measured().on_load_checkpoint(kept | {"box": [2, 4]})


@pytest.mark.parametrize("drawn", [True, False, None])
def test_a_file_of_weights_says_the_same_in_words(module, tmp_path, drawn):
    module.trained_on_drawn = drawn
    words = module.backbone_options()
    assert words == {"trained_on_drawn": str(drawn), "box": "2 3", "kind": "square"}
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", words)
    torch.save(checkpoint_of(module), tmp_path / "a.ckpt")
    for name in ("a.safetensors", "a.ckpt"):
        again = Measured()
        again.trained_on_drawn = not drawn
        again.know_origin(told_by_file(str(tmp_path / name)))
        assert again.trained_on_drawn is drawn


def test_weights_of_others_say_nothing(module, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    module.know_origin(told_by_file(str(tmp_path / "a.pth")))
    assert module.trained_on_drawn is None
    with pytest.raises(UserError, match=r"no weights at .*none\.ckpt"):
        told_by_file(str(tmp_path / "none.ckpt"))


def test_who_is_given_a_result_is_told_of_drawn_faces(module):
    assert module.cautions == [DRAWN_ONLY]
    for drawn in (False, None):
        module.trained_on_drawn = drawn
        assert module.cautions == []
