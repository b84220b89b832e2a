import pytest
import torch
from torch.utils.data import DataLoader

from callbacks.run.backbone_writer import BackboneWriter
from lightning_modules import BackboneClassifier, Detector
from tests.helpers.small_detectors import C4, FPN, SMALL
from tests.lightning_modules.sparsedet.cases import trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but"),
]
QUICK = {"enable_checkpointing": False, "num_sanity_val_steps": 0}


def classifier(config=FPN, classes=3, **options) -> BackboneClassifier:
    torch.manual_seed(0)
    overrides = SMALL[config] | {"backbone.norm_eval": False}
    return BackboneClassifier(config, classes, overrides=overrides, **options)


def images(count=12, task="images"):
    """Pictures of three colours in noise."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(count) % 3
    image = 0.5 * torch.rand(count, 3, 64, 64, generator=generator)
    image[torch.arange(count), label] += 0.4
    return {"task": task, "image": image, "label": label}


def loader(*batches):
    return DataLoader(list(batches), batch_size=None)


@pytest.mark.parametrize(
    ("config", "mean", "std", "order"),
    [
        (FPN, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), [0, 1, 2]),
        (C4, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), [2, 1, 0]),  # caffe's weights take BGR
    ],
)
def test_pictures_are_normalised_as_the_detector_does(config, mean, std, order):
    found = classifier(config).eval()
    image = images()["image"][:2]
    x = (255 * image[:, order] - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        expected = found.head(found.backbone(x)[-1].mean((2, 3)))
        torch.testing.assert_close(found(image), expected)
    assert expected.shape == (2, 3)


def test_building_leaves_the_statistics_alone():
    found = classifier()
    assert all(value == 0 for name, value in found.state_dict().items() if name.endswith("num_batches_tracked"))
    assert all(value.eq(1).all() for name, value in found.state_dict().items() if name.endswith("running_var"))
    assert all(each.training for each in found.modules())


def test_learns_colours(tmp_path):
    found = classifier(warmup=5)
    run = trainer(tmp_path, max_epochs=20, limit_val_batches=0, **QUICK)
    run.fit(found, loader(images()), loader(images()))
    assert run.callback_metrics["train/loss"] < 0.4
    (result,) = trainer(tmp_path, **QUICK).validate(found, loader(images()), verbose=False)
    assert result["val/accuracy"] > 0.9


def test_accuracy_is_of_pictures_only(tmp_path):
    found = classifier()
    with torch.no_grad():
        found.head.weight.zero_()
        found.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    other = {"task": "video", "image": images()["image"]}
    run = trainer(tmp_path, **QUICK)
    (result,) = run.validate(found, loader(images(), other), verbose=False)
    assert result["val/accuracy"] == pytest.approx(1 / 3)


def test_every_parameter_has_a_gradient():
    found = classifier()
    found.training_step(images(), 0).backward()
    assert all(each.grad is not None for each in found.parameters())


def test_a_detector_starts_from_what_was_learnt(tmp_path):
    found = classifier()
    run = trainer(tmp_path, BackboneWriter(), max_epochs=1, limit_val_batches=0, **QUICK)
    run.fit(found, loader(images()))
    detector = Detector(FPN, overrides=SMALL[FPN], backbone_weights=str(tmp_path / "backbone.safetensors"))
    state = detector.detector.backbone.state_dict()
    assert state.keys() == found.backbone_state().keys()
    for name, value in found.backbone_state().items():
        if value.is_floating_point():
            torch.testing.assert_close(state[name], value.half().float(), msg=name)
    assert any(
        each.running_mean.any() for each in detector.detector.backbone.modules() if hasattr(each, "running_mean")
    )
