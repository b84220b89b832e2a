"""What all evaluations of generated images share: videos are measured frame by frame, or refused."""

import pytest
from torch.utils.data import DataLoader

from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.frequency_spectrum import FrequencySpectrum
from callbacks.generation.noise_variation import NoiseVariation
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.generation.sample_grid import SampleGrid
from callbacks.generation.translation_writer import TranslationWriter
from networks.generated import Generated, frames_of
from tests.callbacks.generation.cases import Skipping, TinyTranslator, collate, quiet_trainer, sample
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
