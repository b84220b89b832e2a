from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.lsr.stage_files import load_stage
from tests.lightning_modules.lsr.cases import fit, loader_of, lsr, lsr_layout
from visionscapes.errors import UserError


def trained(tmp_path, module, **options):
    trainer = fit(module, loader_of(4), **options)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    return str(path)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_full_pipeline_begins_with_the_layout_predictor_of_a_checkpoint(tmp_path, ema):
    first = lsr_layout(seed=1, optimizer={"ema": ema})
    path = trained(tmp_path, first)
    module = lsr(layout_weights=path, optimizer={"ema": ema})
    expected = first.shown.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in module.generator.layout.state_dict().items())
    other = lsr(optimizer={"ema": ema})
    assert torch.equal(module.generator.style.first.weight, other.generator.style.first.weight)
    if ema:
        assert not torch.equal(first.generator.encoder.first.weight, expected["encoder.first.weight"])
        shown = module.shown.layout.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in shown.items())


def test_weights_alone_say_what_they_were_trained_on(tmp_path):
    first, path = lsr_layout(seed=1), str(tmp_path / "layout.safetensors")
    save_file(first.backbone_state(), path, metadata={"trained_on_drawn": "True", "image_size": "16", "seed": "3"})
    module = lsr(layout_weights=path)
    assert module.trained_on_drawn is True
    assert torch.equal(module.generator.layout.encoder.first.weight, first.generator.encoder.first.weight)
    with pytest.raises(UserError, match=r"images of 16 pixels.*--model\.image_size=16"):
        lsr(layout_weights=path, image_size=24)


def test_a_checkpoint_needs_no_file_that_it_started_from(tmp_path):
    """It is taken to another machine, or read from another folder."""
    (tmp_path / "layout").mkdir()
    start = Path(trained(tmp_path / "layout", lsr_layout(seed=1)))
    module = lsr(layout_weights=str(start))
    path = trained(tmp_path, module)
    start.unlink()
    again = type(module).load_from_checkpoint(path)
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in module.state_dict().items())
    with pytest.raises(UserError, match="no weights at"):
        type(module).load_from_checkpoint(path, layout_weights=str(start))


def test_files_that_do_not_fit(tmp_path):
    path = trained(tmp_path, lsr_layout(seed=1))
    with pytest.raises(UserError, match=r"other shapes: encoder.*of LSRLayout, and --model\.network"):
        lsr(layout_weights=path, network={"base": 8})
    with pytest.raises(UserError, match=r"left over.*LSRLayout"):
        lsr(layout_weights=trained(tmp_path, lsr()))
    with pytest.raises(UserError, match=r"no weights at .*weights of LSRLayout as --model\.layout_weights.*=null does"):
        lsr(layout_weights=str(tmp_path / "none.ckpt"))
    for spatial in ("oracle", "landmarks", "none"):
        with pytest.raises(UserError, match=r"the model has none.*--model\.spatial=layout"):
            lsr(layout_weights=path, spatial=spatial)


def test_a_discriminator_is_loaded_beside_the_generator(tmp_path):
    first = lsr(seed=1)
    path = trained(tmp_path, first)
    module = lsr()
    load_stage(module.generator, path, "LSR", discriminator=module.discriminator)
    for part in ("generator", "discriminator"):
        ours, theirs = (getattr(each, part).state_dict() for each in (module, first))
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    without = trained(tmp_path, lsr(losses={"lambda_gan": 0.0}))
    with pytest.raises(UserError, match=r"holds no discriminator.*--model\.losses\.lambda_gan=0"):
        load_stage(module.generator, without, "LSR", discriminator=module.discriminator)
