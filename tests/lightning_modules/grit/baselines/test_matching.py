import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.grit.baselines.matching import MatchingOptions, PatchDiscriminatorOptions
from lightning_modules.grit.baselines.pix2pixhd import Pix2PixHD
from lightning_modules.grit.baselines.spade import SPADE
from networks.gan.patch_discriminator import feature_matching
from networks.perceptual import VGGPerceptual, vgg19_features
from tests.lightning_modules.grit.cases import CLASSES, SIZE, batch_of
from visionscapes.errors import UserError

SMALL = {"classes": CLASSES, "image_size": SIZE, "discriminator": {"base": 4, "scales": 2}}


def losses_of(kind, **matching):
    """Return a small module with the terms of two images that are not alike, and the images."""
    torch.manual_seed(0)
    module = kind(**SMALL, generator={"base": 4}, matching={"lambda_vgg": 0.0} | matching)
    batch = batch_of(2)
    condition, truth = module.condition(batch), module.to_network(batch["image"])
    return module, module.matching_losses(condition, truth, truth.flip(0)), condition, truth


@pytest.mark.parametrize("kind", [Pix2PixHD, SPADE])
def test_terms_and_their_weights(kind):
    module, losses, condition, truth = losses_of(kind, lambda_features=3.0)
    of_truth, of_image = module.scores(condition, truth), module.scores(condition, truth.flip(0))
    assert losses.keys() == {"adversarial", "features"}
    assert torch.allclose(losses["features"], 3 * feature_matching(of_truth, of_image), rtol=1e-3)
    assert torch.allclose(losses["adversarial"], module.adversarial_loss(of_image), rtol=1e-3)
    assert losses["features"] > 0


def test_the_perceptual_term(tmp_path):
    file = tmp_path / "vgg19.safetensors"
    save_file(vgg19_features(None).state_dict(), file)
    module, losses, _, truth = losses_of(Pix2PixHD, lambda_vgg=2.0, vgg_weights=str(file))
    assert torch.allclose(losses["perceptual"], 2 * VGGPerceptual(str(file))(truth.flip(0), truth))
    assert not any("features." in name for name in module.state_dict())


def test_without_a_weight_vgg_is_not_asked_for():
    assert MatchingOptions(lambda_vgg=0.0, vgg_weights="none.pth").perceptual() is None
    with pytest.raises(UserError, match="no weights at"):
        MatchingOptions(vgg_weights="none.pth").perceptual()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MatchingOptions(lambda_vgg=-1.0), "MatchingOptions.lambda_vgg is -1.0; it has to be at least 0"),
        (lambda: PatchDiscriminatorOptions(scales=0), "PatchDiscriminatorOptions.scales is 0; it has to be at least 1"),
    ],
)
def test_values_that_make_no_sense(make, message):
    with pytest.raises(UserError, match=message):
        make()
