import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_modules.lsr.heads import EvaluationOptions, HeadModule
from networks.reenacted import Reenacts
from tests.lightning_modules.lsr.cases import SIZE, fit, loader_of, lsr, lsr_layout
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
