import pytest
import torch

from lightning_modules.paired_translation import channels_of
from networks.generated import to_unit_range
from tests.lightning_modules.grit.cases import (
    SIZE,
    batch_of,
    collate,
    fit,
    grit,
    loader_of,
    pix2pixhd,
    spade,
    with_noise,
)
from visionscapes.errors import UserError


def test_the_moving_average_generates():
    module = grit(ema=0.5, noise=False)
    fit(module, loader_of(8))
    assert module.shown is module.average.module
    now, before = module.generator.head.weight, module.shown.head.weight
    assert not torch.equal(now, before)
    batch = batch_of(2)
    module.eval()
    with torch.no_grad():
        shown = module.generate(batch).image
        condition, image = module.condition(batch), module.to_network(batch["image"])
        assert torch.equal(shown, module.shown(condition, module.shown.style(image, condition)).image)
        assert not torch.equal(shown, module.generator(condition, module.generator.style(image, condition)).image)
    other = grit(ema=0.5, noise=False)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.shown.head.weight, before)


def test_generate_with_a_generator_repeats_itself():
    module = with_noise(grit()).eval()
    batch = batch_of(2)
    with torch.no_grad():
        first, again, other = (module.generate(batch, torch.Generator().manual_seed(seed)).image for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_style_of_another_image():
    module = grit().eval()
    batch = batch_of(2)
    with torch.no_grad():
        own = module.generate(batch).image
        swapped = module.generate({**batch, "style": batch["image"].flip(0)}).image
        expected = module.generate({**batch, "image": batch["image"].flip(0)}).image
    assert torch.equal(swapped, expected)
    assert not torch.equal(swapped, own)


def test_conditions_that_are_images():
    module = grit(classes=None, condition_channels=1)
    batch = {"condition": torch.rand(2, 1, SIZE, SIZE), "image": torch.rand(2, 3, SIZE, SIZE)}
    assert module.condition(batch).min() < 0
    assert torch.allclose(module.unsigned(module.condition(batch)), batch["condition"], atol=1e-6)
    assert module.generate(batch).image.shape == (2, 3, SIZE, SIZE)
    with pytest.raises(UserError, match=r"2 channels.*built for 1"):
        module.condition({"condition": torch.rand(2, 2, SIZE, SIZE)})
    with pytest.raises(UserError, match="label maps, and the model was built for images"):
        module.condition(batch_of(2))


def test_labels_where_images_are_expected_and_the_reverse():
    with pytest.raises(UserError, match="built for label maps of 4 classes"):
        grit().condition({"condition": torch.rand(2, 1, SIZE, SIZE)})
    assert channels_of(19, None) == 19
    assert channels_of(None, 3) == 3
    for both in ((None, None), (19, 3)):
        with pytest.raises(UserError, match="classes and condition_channels"):
            channels_of(*both)


def test_images_of_a_single_colour():
    batch = batch_of(4)
    batch["image"][:], batch["labels"][:] = 0.5, 0
    module = grit()
    samples = [{key: batch[key][place] for key in ("labels", "image", "name")} for place in range(4)]
    fit(module, torch.utils.data.DataLoader(samples, batch_size=2, collate_fn=collate))
    assert all(torch.isfinite(each).all() for each in module.parameters())


def test_untrained_networks_do_not_predict():
    import pytorch_lightning as pl

    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(UserError, match="untrained"):
        trainer.predict(grit(), loader_of(2))


@pytest.mark.parametrize("make", [grit, spade])
def test_a_draw_depends_on_its_sample_and_its_seed_alone(make):
    module = with_noise(make()).eval()
    batch = batch_of(3) | {"seeds": torch.tensor([[1, 2], [3, 4], [5, 1]])}
    with torch.no_grad():
        whole = module.predict_step(batch, 0).image
        assert whole.shape == (6, 3, SIZE, SIZE)
        alone = {key: value[2:] for key, value in batch.items() if key != "task"} | {"seeds": torch.tensor([[9, 1]])}
        assert torch.equal(module.predict_step(alone, 0).image[1], whole[5])
        one = {key: value[2:] for key, value in batch.items() if key not in ("task", "seeds")}
        assert torch.equal(module.generate(one, torch.Generator().manual_seed(5)).image[0], whole[4])
    assert len({image.numpy().tobytes() for image in whole}) == 6


@pytest.mark.parametrize("make", [grit, spade, pix2pixhd])
def test_images_of_pixels_without_a_label(make):
    """They are as a condition that is zero everywhere has them, and no class."""
    module = with_noise(make()).eval()
    batch = batch_of(2)
    batch["labels"][:, :, :8] = 255
    condition = module.condition(batch)
    assert condition.sum(1)[:, :, :8].abs().max() == 0
    assert (condition.sum(1)[:, :, 8:] == 1).all()
    with torch.no_grad():
        image = module.generate(batch, torch.Generator().manual_seed(0)).image
        assert torch.isfinite(image).all()
        for label in range(4):
            other = batch | {"labels": torch.where(batch["labels"] == 255, label, batch["labels"])}
            assert not torch.equal(module.generate(other, torch.Generator().manual_seed(0)).image, image)


def test_training_with_pixels_without_a_label():
    batch = batch_of(4)
    batch["labels"][:, 4:9] = 255
    samples = [{key: batch[key][place] for key in ("labels", "image", "name")} for place in range(4)]
    for module in (grit(), spade(), pix2pixhd()):
        fit(module, torch.utils.data.DataLoader(samples, batch_size=2, collate_fn=collate))
        assert all(torch.isfinite(each).all() for each in module.parameters())


def test_answers_have_the_size_of_their_label_maps():
    module = grit().eval()
    batch = batch_of(2) | {
        "size": torch.tensor([[7, 33], [SIZE, SIZE]]),
        "window": torch.tensor([[0, 4, SIZE, 12]] * 2),
    }
    batch["window"][1] = torch.tensor([0, 0, SIZE, SIZE])
    with torch.no_grad():
        first, second = module.answers(batch | {"seed": 0})
        made = module.generate(batch, torch.Generator().manual_seed(0))
    assert first.image.shape == first.parts["residual"].shape == (3, 7, 33)
    assert torch.equal(second.image, to_unit_range(made.image[1]))
    both = first.parts["reconstruction"] + first.parts["residual"]
    assert torch.allclose(to_unit_range(both), first.image, atol=1e-5)
