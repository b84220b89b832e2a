import torch
from torch import nn
from torch.nn import functional as F

from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.network import Latents
from lightning_modules.lsr.objective import Objective, scores_beside
from networks.companion import Companion
from networks.gan.losses import GAN_LOSSES


def squares(images, target):
    return (images - target).square().mean()


def faces(images, target):
    return squares(images, target), (images.mean() - target.mean()).abs()


class Expert(nn.Module):
    def __init__(self, says):
        super().__init__()
        self.says = says

    def forward(self, images, target):
        return self.says(images, target)


def objective(**weights):
    experts = {"perceptual": Companion(Expert(squares)), "faces": Companion(Expert(faces))}
    return Objective(HeadLossOptions(**weights), GAN_LOSSES["logistic"], **experts)


def pictures():
    return torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def latents():
    random = torch.Generator().manual_seed(1)
    return Latents(torch.randn(3, 4, generator=random), torch.randn(3, 4, generator=random))


def test_every_term_of_equation_6_4():
    weights = {"lambda_gan": 2.0, "lambda_vgg": 0.3, "lambda_l1": 4.0, "lambda_vggface": 0.5, "lambda_id": 0.25}
    image, truth = pictures()
    codes = latents()
    made = objective(**weights, lambda_z=0.7).generator_losses(
        image, truth, codes, scores=lambda each: each.mean((1, 2, 3))
    )
    expected = {
        "l1": 4 * (image - truth).abs().mean(),
        "vgg": 0.3 * squares(image, truth),
        "vggface": 0.5 * squares(image, truth),
        "identity": 0.25 * (image.mean() - truth.mean()).abs(),
        "adversarial": 2 * F.softplus(-image.mean((1, 2, 3))).mean(),
        "latent": 0.7 * ((codes.layout**2).mean() + (codes.style**2).mean()),
    }
    assert made.keys() == expected.keys()
    assert all(torch.allclose(made[name], value) for name, value in expected.items())


def test_networks_are_not_asked_where_nothing_weighs_what_they_say():
    silent = Objective(
        HeadLossOptions(lambda_vgg=0.0, lambda_vggface=0.0, lambda_id=0.0),
        GAN_LOSSES["logistic"],
        perceptual=None,
        faces=None,
    )
    image, truth = pictures()
    assert silent.reconstruction_losses(image, truth).keys() == {"l1"}
    made = silent.generator_losses(image, truth, Latents(None, latents().style), scores=None)
    assert made.keys() == {"l1", "latent"}
    assert torch.allclose(made["latent"], latents().style.square().mean())


def test_the_discriminator_sees_the_landmarks_beside_the_image():
    image, drawing = pictures()
    discriminator = nn.Conv2d(6, 1, 1, bias=False)
    discriminator.weight.data = torch.tensor([1.0, 0, 0, 10, 0, 0])[None, :, None, None]
    scores = scores_beside(discriminator, drawing)
    assert torch.allclose(scores(image)[:, 0], image[:, 0] + 10 * drawing[:, 0])
    in_half = scores_beside(discriminator.bfloat16(), drawing)
    assert in_half(image).dtype == torch.bfloat16
    assert scores_beside(None, drawing) is None
