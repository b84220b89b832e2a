import pytest

from lightning_modules.lsr.loss_options import HeadLossOptions, LayoutLossOptions
from visionscapes.errors import UserError


def test_defaults_are_those_of_the_official_code():
    options = HeadLossOptions()
    assert (options.lambda_gan, options.lambda_vgg, options.lambda_l1) == (1.0, 0.1, 1.0)
    assert (options.lambda_vggface, options.lambda_id, options.lambda_z) == (0.002, 1.0, 1.0)
    first = LayoutLossOptions()
    assert (first.lambda_seg, first.lambda_rgb, first.lambda_z, first.latent_penalty) == (10.0, 0.01, 1.0, "mean")


def test_weights_are_not_negative():
    for kind in (LayoutLossOptions, HeadLossOptions):
        with pytest.raises(UserError, match=f"{kind.__name__}.lambda_seg"):
            kind(lambda_seg=-1)
    with pytest.raises(UserError, match=r"HeadLossOptions\.lambda_gan"):
        HeadLossOptions(lambda_gan=-1)
