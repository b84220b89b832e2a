"""What all evaluations of generated images share: videos are measured frame by frame, or refused."""

import csv

import pytest
import torch
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric

from callbacks.generation.evaluation import GenerationEvaluation, generating, generator_of
from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.frequency_spectrum import FrequencySpectrum
from callbacks.generation.noise_variation import NoiseVariation
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.generation.sample_grid import SampleGrid
from callbacks.generation.translation_writer import TranslationWriter
from callbacks.results.result import Result
from networks.generated import Generated, frames_of
from tests.callbacks.generation.cases import Skipping, TinyPairs, TinyTranslator, collate, run_test, sample
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

TIMES = 3


class VideoTranslator(TinyTranslator):
    """Generates every frame as its parent generates images."""

    def generate(self, batch, noise=None):
        size = batch["image"].shape[:2]
        images = super().generate({"image": frames_of(batch["image"])}, noise)
        return Generated(images.image.unflatten(0, size), {k: v.unflatten(0, size) for k, v in images.parts.items()})

    def test_step(self, batch, batch_idx):
        return self.generate(batch)

    validation_step = predict_step = test_step


def samples_of(clips):
    return [sample(index) for index in range(clips * TIMES)]


def batch_of_videos(clips=2, task="translation"):
    images = collate(samples_of(clips))
    video = images["image"].unflatten(0, (clips, TIMES))
    labels = images["labels"][::TIMES]
    return {"task": task, "image": video, "style": video, "labels": labels, "name": [f"clip {k}" for k in range(clips)]}


def measured(folder, callback, module, batches):
    quiet_trainer(folder, [callback]).test(module, DataLoader(batches, batch_size=None), verbose=False)
    return [vars(row) for row in callback.results]


@pytest.mark.parametrize("protocol", [ReconstructionEvaluation, FrechetDistance, FrequencySpectrum])
def test_a_video_is_measured_as_its_frames(tmp_path, protocol):
    videos = measured(tmp_path / "videos", protocol(), VideoTranslator(), [batch_of_videos()])
    images = [{key: value for key, value in collate(samples_of(2)).items() if key != "labels"}]
    frames = measured(tmp_path / "frames", protocol(), Skipping(strength=0), images)
    assert len(videos) == len(frames) > 0
    for video, frame in zip(videos, frames, strict=True):
        assert str(video) == str(frame)  # NaN is equal to NaN as text
        assert video["count"] == 2 * TIMES


@pytest.mark.parametrize("callback", [NoiseVariation, SampleGrid])
def test_what_is_made_for_images_refuses_videos(tmp_path, callback):
    loader = DataLoader([batch_of_videos()], batch_size=None)
    with pytest.raises(UserError, match=f"{callback.__name__} takes generated images, not videos .of 3 frames"):
        quiet_trainer(tmp_path, [callback()]).test(VideoTranslator(), loader, verbose=False)


def test_the_writer_of_images_refuses_videos(tmp_path):
    loader = DataLoader([batch_of_videos(task="predict")], batch_size=None)
    with pytest.raises(UserError, match="TranslationWriter takes generated images, not videos"):
        quiet_trainer(tmp_path, [TranslationWriter()]).predict(VideoTranslator(), loader)
    assert not list(tmp_path.rglob("*.png"))


class Brightness(GenerationEvaluation):
    """Mean of what was generated, by the size of the images; a protocol as simple as can be."""

    protocol = "brightness"

    def __init__(self, validate=False):
        super().__init__(validate)
        self.finished = 0

    def new_metric(self, key):
        return MeanMetric()

    def update(self, trainer, pl_module, generated, batch):
        assert not torch.is_grad_enabled()
        for method, images in {"image": generated.image, **generated.parts}.items():
            for image in images:
                self.metric(pl_module, method, image.shape[-1]).update(image.mean())

    def rows(self, metrics):
        return [
            Result(self.protocol, "mean", method, size, float(metric.compute()), 0.0, int(metric.weight))
            for (method, size), metric in metrics.items()
        ]

    def finish(self, trainer, pl_module, metrics):
        self.finished += 1


def test_every_sample_of_the_task_counts_once_for_each_method(tmp_path):
    callback = Brightness()
    trainer = run_test(tmp_path, [callback])
    assert {(row.method, row.count) for row in callback.results} == {
        ("image", 7),
        ("reconstruction", 7),
        ("residual", 7),
    }
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged == {f"brightness/mean/{row.method}": pytest.approx(row.value) for row in callback.results}
    with (tmp_path / "results" / "brightness.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == [row.method for row in callback.results]
    assert callback.finished == 1


def test_several_sizes_are_told_apart_in_the_log(tmp_path):
    callback = Brightness()
    trainer = run_test(tmp_path, [callback], data=TinyPairs(sizes=(16, 8)))
    assert {(row.method, row.image_size) for row in callback.results if row.method == "image"} == {
        ("image", 16),
        ("image", 8),
    }
    assert {"brightness/mean/image@16", "brightness/mean/image@8"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize("validate", [False, True])
def test_validation_is_measured_where_asked_for_and_never_in_the_sanity_check(tmp_path, validate):
    callback, module = Brightness(validate), Skipping()
    quiet_trainer(tmp_path, [callback], num_sanity_val_steps=2, max_epochs=2).fit(module, datamodule=TinyPairs())
    assert callback.finished == (2 if validate else 0)
    assert {row.count for row in callback.results} == ({7} if validate else set())


def test_a_second_test_starts_anew(tmp_path):
    callback = Brightness()
    for samples in (7, 4):
        run_test(tmp_path, [callback], data=TinyPairs(samples=samples))
        assert {row.count for row in callback.results} == {samples}


def test_a_module_that_generates_nothing_is_named(tmp_path):
    class Silent(Skipping):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            return None

    with pytest.raises(UserError, match="Brightness needs generated images, which Silent does not return"):
        run_test(tmp_path, [Brightness()], Silent())
    with pytest.raises(UserError, match="Brightness generates images anew, which Linear cannot"):
        generator_of(Brightness(), torch.nn.Linear(1, 1))
    module = Skipping()
    assert generator_of(Brightness(), module) is module


def test_images_are_generated_in_the_precision_of_the_trainer_and_without_gradients(tmp_path):
    trainer = quiet_trainer(tmp_path, [], precision="bf16-mixed")
    layer = torch.nn.Linear(2, 2)
    with generating(trainer):
        made = layer(torch.ones(1, 2))
    assert (made.dtype, made.requires_grad) == (torch.bfloat16, False)
    assert torch.is_grad_enabled()
