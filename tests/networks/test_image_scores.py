import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from networks.image_scores import AestheticPredictor, Contrast, as_seen
from tests.helpers.tiny_aesthetics import write_clip, write_predictor
from visionscapes.errors import UserError


def picture(height, width, seed=0, strength=60):
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, strength, (3, 6, 6))
    smooth = F.interpolate(torch.tensor(coarse)[None].float(), (height, width), mode="bicubic")[0]
    return smooth.clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_predictor(tmp_path_factory.mktemp("laion") / "sac+logos+ava1-l14-linearMSE.pth")


def test_contrast_is_the_deviation_of_the_blurred_grey_picture():
    image = picture(60, 90)
    grey = np.tensordot([0.2989, 0.587, 0.114], image.numpy() / 255, 1)
    naive = gaussian_filter(grey, 0.012 * 90, mode="mirror", truncate=3).std()
    assert Contrast()([image]).item() == pytest.approx(naive, rel=0.02)


def test_contrast_falls_with_paleness_and_blur_and_does_not_rise_with_noise():
    image = picture(64, 64)
    score = Contrast()
    (whole,) = score([image]).tolist()
    pale = (140 + 0.5 * (image.float() - 128)).to(torch.uint8)
    noise = torch.randint(-12, 13, image.shape, generator=torch.Generator().manual_seed(0))
    noisy = (image.float() + noise).clamp(0, 255).to(torch.uint8)
    assert score([pale]).item() < 0.7 * whole
    assert score([noisy]).item() == pytest.approx(whole, rel=0.05)


def test_scores_do_not_depend_on_neighbours():
    images = [picture(40, 60, seed) for seed in range(3)] + [picture(3, 5)]
    score = Contrast()
    assert score(images).tolist() == [score([image]).item() for image in images]


def test_the_predictor_is_laions(clip, weights):
    """Recomputed by hand out of CLIP's own class and the file's matrices."""
    from transformers import CLIPVisionModelWithProjection

    images = [picture(30, 50), picture(64, 40, 1)]
    state = torch.load(weights, weights_only=True)
    with torch.no_grad():
        found = AestheticPredictor(str(clip), str(weights))(images)
        tower = CLIPVisionModelWithProjection.from_pretrained(clip).eval()
        x = tower(torch.stack([as_seen(image, 28) for image in images])).image_embeds
        x = x / x.norm(dim=1, keepdim=True)
        for place in (0, 2, 4, 6, 7):
            x = x @ state[f"layers.{place}.weight"].T + state[f"layers.{place}.bias"]
    assert found.shape == (2,)
    assert torch.allclose(found, x[:, 0], atol=1e-5)


def test_clip_sees_the_middle_as_its_own_processor_makes_it():
    from PIL import Image
    from transformers import CLIPImageProcessor

    image = picture(100, 60)
    processor = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    theirs = processor(Image.fromarray(image.permute(1, 2, 0).numpy()), return_tensors="pt")["pixel_values"][0]
    assert (as_seen(image, 28) - theirs).abs().mean() < 0.02


def test_what_is_no_predictor_is_refused(clip, weights, tmp_path):
    with pytest.raises(UserError, match="fetch sac"):
        AestheticPredictor(str(clip), str(tmp_path / "none.pth"))
    torch.save({"layers.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no weights of LAION"):
        AestheticPredictor(str(clip), str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match="cannot read CLIP"):
        AestheticPredictor(str(tmp_path), str(weights))
