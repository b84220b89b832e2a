"""What no configuration goes through, on the pretended device; run by tests/test_pretended_cuda.py.

Other detectors of mmdet's collection, and branches that need weights, with random ones in their place.
"""

import pytest
import torch
from torch import nn

from lightning_modules.supervision.visual_tokens import CodebookFile, KMeansTokens
from networks.detection.build import build_detector
from tests.helpers.drawn_detection import drawn_batch, losses_of, predicted, total_of
from tests.helpers.image_files import pixels
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.trained_runs import QUICK, trained
from tests.lightning_modules.grit import cases
from tests.networks.detection.test_centernet2 import tiny as centernet2
from tests.networks.detection.test_families import FAMILIES, PICTURES, SIZE
from tests.networks.detection.test_vit_pyramid import build as vitdet
from visionscapes.loading import load
from visionscapes.renamed_options import with_new_names


@pytest.fixture
def device():
    return torch.device("cuda", 0)


def moved(batch, device):
    """Return a batch as Lightning moves it: lists of tensors too."""
    return {
        key: [each.to(device) if isinstance(each, torch.Tensor) else each for each in values]
        for key, values in batch.items()
    }


def check(detector, device):
    nn.ModuleList([detector]).to(device)  # as Lightning does, which does not ask the detector
    batch = moved(drawn_batch(PICTURES, SIZE), device)
    loss = total_of(losses_of(detector, batch))
    loss.backward()
    assert loss.is_cuda
    assert loss.cpu().isfinite()
    assert all(each.grad is None or each.grad.is_cuda for each in detector.parameters())
    assert len(predicted(detector, batch)) == len(PICTURES)


@pytest.mark.parametrize("name", FAMILIES)
def test_detectors_of_the_collection(name, device):
    torch.manual_seed(0)
    check(build_detector(f"mmdet::{name}", FAMILIES[name], num_classes=2), device)


@pytest.mark.parametrize("base", [None, "halve_strides"])
def test_vitdet(base, device):
    check(vitdet(base), device)


def test_centernet2(device):
    check(centernet2(), device)


PATCHES = {"classes": cases.CLASSES, "image_size": cases.SIZE, "base": 4, "discriminator_base": 4, "vgg_weights": None}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GRIT", cases.SMALL | {"reconstruction": "vgg", "vgg_weights": None}),
        ("Pix2PixHD", PATCHES | {"downs": 2, "blocks": 1}),
        ("SPADE", PATCHES | {"hidden": 4, "style_dim": 8}),
    ],
)
def test_perceptual_losses(kind, options, tmp_path):
    import lightning_modules

    module = getattr(lightning_modules, kind)(**with_new_names(kind, options))
    trainer = quiet_trainer(tmp_path, [], max_steps=2, limit_val_batches=0)
    trainer.fit(module, cases.loader_of(4))
    assert trainer.global_step == 2


def test_visual_tokens(tmp_path, device):
    images = torch.rand(4, 3, 32, 32)
    learned = KMeansTokens(8, vocabulary=8, batches=1, samples=50)
    learned.to(device).learn([images.to(device)])
    ids = learned(images.to(device), (4, 4))
    assert ids.is_cuda
    torch.save({"centres": learned.centres}, tmp_path / "centres.pt")
    assert torch.equal(CodebookFile(str(tmp_path / "centres.pt"))(images, (4, 4)), ids.cpu())


@pytest.mark.parametrize("name", QUICK)
def test_loaded_modules_answer_on_the_processor(name, device):
    """Whatever device they compute on; the results of a processor and of a pretended GPU are those of one picture."""
    model = load(trained(name), device=device)
    given = [pixels(64, 64, 1)[..., 0] % 19] if name == "GRIT" else []
    found = model(*given, pixels(64, 64))
    assert model.device.type == "cuda"
    values = [found] if isinstance(found, torch.Tensor) else vars(found).values()
    assert not any(isinstance(value, torch.Tensor) and value.is_cuda for value in values)
