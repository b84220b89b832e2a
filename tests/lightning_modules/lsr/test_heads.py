import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_modules.lsr.heads import EvaluationOptions, HeadModule, evaluating, subject_shots, unit
from networks.reenacted import Reenacts
from tests.lightning_modules.lsr.cases import SIZE, fit, loader_of, lsr, lsr_layout, subject_of
from visionscapes.errors import UserError


def chunk_of(source="anna", frames=3, seed=0, **more):
    random = torch.Generator().manual_seed(seed)
    shots = torch.Generator().manual_seed(sum(map(ord, source)))

    def pictures(count, generator):
        return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)

    return {
        "task": "reenact",
        "name": f"{source}__talk",
        "source": source,
        "shots": pictures(2, shots),
        "shot_drawings": pictures(2, shots),
        "drawing": pictures(frames, random),
        "finetune": False,
        **more,
    }


def test_modules_reenact():
    assert isinstance(lsr(), Reenacts)
    assert isinstance(lsr_layout(), HeadModule)


def test_a_person_is_met_once_a_source():
    module = lsr().eval()
    met = []
    original = module.codes
    module.codes = lambda network, shots, drawings: met.append(shots.shape) or original(network, shots, drawings)
    found = [module.predict_step(chunk_of(source, seed=seed), 0) for source, seed in (("a", 0), ("a", 1), ("b", 0))]
    assert met == [(1, 2, 3, SIZE, SIZE)] * 2
    assert not torch.equal(found[0].images, found[2].images)
    for source, seed, made in zip("aab", (0, 1, 0), found, strict=True):
        batch = chunk_of(source, seed=seed)
        images = (batch[name].float() / 255 for name in ("shots", "shot_drawings", "drawing"))
        assert torch.equal(module.reenact(*images).images, made.images)
        assert (made.shots, made.fine_tuned) == (2, False)
    module.on_predict_end()
    assert module._person is None


def test_images_are_made_in_parts():
    whole, parts = (lsr(evaluation={"batch": batch}).eval() for batch in (32, 2))
    random = torch.Generator().manual_seed(0)
    shots, drawings, drawing = torch.rand(3, 5, 3, SIZE, SIZE, generator=random)
    ours, theirs = (each.reenact(shots, drawings, drawing) for each in (whole, parts))
    assert torch.allclose(ours.images, theirs.images, atol=1e-5)
    assert torch.allclose(ours.layout, theirs.layout, atol=1e-5)
    assert ours.images.min() >= 0
    assert ours.images.max() <= 1
    assert whole.reenact(shots, drawings, drawing[:0]).images.shape == (0, 3, SIZE, SIZE)


def test_reenacting_leaves_the_mode_as_it_was():
    module = lsr().train()
    module.reenact(*torch.rand(3, 2, 3, SIZE, SIZE))
    assert module.generator.training
    with evaluating(module.generator):
        assert not module.generator.training
    assert module.generator.training


def test_images_of_another_size():
    module = lsr()
    right, wrong = torch.rand(2, 3, SIZE, SIZE), torch.rand(2, 3, 20, SIZE)
    for images in ((wrong, right, right), (right, wrong, right), (right, right, wrong)):
        with pytest.raises(UserError, match=r"images of 16 x 20 pixels.*squares of 16"):
            module.reenact(*images)


def test_images_of_another_shape():
    module, right = lsr(), torch.rand(2, 3, SIZE, SIZE)
    for wrong in (right[0], right[:, :1], right[None]):
        for images in ((wrong, right, right), (right, wrong, right), (right, right, wrong)):
            with pytest.raises(UserError, match=r"images of shape .*\(N, 3, 16, 16\) are needed"):
                module.reenact(*images)
    with pytest.raises(UserError, match="2 shots and 1 drawings of landmarks"):
        module.reenact(right, right[:1], right)
    for meet in (module.meet, module.meet_tuned):
        with pytest.raises(UserError, match="give one shot at least"):
            meet(right[:0], right[:0])


def test_pictures_of_bytes_are_what_they_are_in_shares():
    """As `draw_all` makes them and batches have them."""
    module = lsr()
    images = torch.randint(0, 256, (3, 2, 3, SIZE, SIZE), dtype=torch.uint8)
    shares = images / 255
    assert torch.equal(module.reenact(*images).images, module.reenact(*shares).images)
    tuned = [module.meet_tuned(shots, drawings) for shots, drawings in (images[:2], shares[:2])]
    assert torch.equal(*(each.reenacted(images[2]).images for each in tuned))


def test_shots_of_a_subject():
    batch = subject_of(sources=6)
    shots, drawings = subject_shots(batch, 4)
    assert torch.equal(shots, batch["shots"][0][[0, 1, 3, 4]] / 255)
    assert torch.equal(drawings, batch["shot_drawings"][0][[0, 1, 3, 4]] / 255)
    with pytest.raises(UserError, match=r"7 shots are asked for, and anna has 6.*--model\.evaluation\.shots"):
        subject_shots(batch, 7)
    assert torch.equal(unit(shots), shots)


def test_other_batches_are_passed_over():
    assert lsr().validation_step({"task": "heads"}, 0) is None


def test_untrained_networks_reenact_nobody():
    for module in (lsr(), lsr_layout()):
        with pytest.raises(UserError, match=f"this {type(module).__name__} is untrained"):
            predict(module)


def predict(module):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(**quiet, enable_checkpointing=False)
    trainer.predict(module, DataLoader([chunk_of()], batch_size=None))  # type: ignore[arg-type]


def test_checkpoints_say_what_was_trained_on(tmp_path):
    module = lsr()
    trainer = fit(module, loader_of(2))
    module.trained_on_drawn = True
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = type(module).load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded.trained_on_drawn is True
    with pytest.raises(UserError, match=r"images of 16 pixels.*--model\.image_size=16 --data\.image_size=16"):
        type(module).load_from_checkpoint(tmp_path / "last.ckpt", image_size=32)


def test_origin_of_a_file_of_weights():
    module = lsr()
    module.know_origin({"trained_on_drawn": "True", "image_size": str(SIZE)})
    assert module.trained_on_drawn is True
    assert module.backbone_options() == {"trained_on_drawn": "True", "image_size": str(SIZE)}
    module.know_origin({})
    assert module.trained_on_drawn is None


def test_numbers_of_shots():
    for wrong in ((), (0,), (1, 1)):
        with pytest.raises(UserError, match=r"EvaluationOptions\.shots"):
            EvaluationOptions(shots=wrong)
