"""Diff2Lip as files, and the sampling that calls them."""

import json

import numpy as np
import pytest
import torch

from lightning_modules.diff2lip.baselines.wav2lip import Wav2Lip
from lightning_modules.diff2lip.diffusion import frame_noise
from lightning_modules.diff2lip.exporting import Denoiser, Listener, sampled_by
from lightning_modules.diff2lip.windows import Frames
from tests.helpers.exported import exported, same_as
from tests.lightning_modules.diff2lip.cases import SMALL, UNET, diff2lip, frames_of, moved
from visionscapes.exporting import programs

OPTIONS = {
    "eps": {},
    "v, with guidance": {
        "diffusion": {"prediction": "v"},
        "audio": {"dropout": 0.1},
        "sampling": {"guidance": 2.0, "spacing": "trailing"},
    },
    "frames, with variances": {"diffusion": {"prediction": "sample"}, "unet": {"learn_sigma": True}},
}


def frames_to_make(module, count=3):
    """Return frames as `make` takes them."""
    faces, reference, mel = frames_of(count)
    inputs, references = module.view.signed(faces), module.view.signed(reference)
    numbers = torch.arange(count)
    return Frames(inputs, references, module.view.masks(inputs, None), frame_mel=mel, numbers=numbers)


def in_numpy(module, frames, listen, denoise, about):
    """Return the mouths that `sampled_by` makes of frames."""
    options = module.sampling
    noise = frame_noise(module.view.shape, frames.numbers, seed=options.noise_seed, kind=options.noise)
    mask = frames.mask.expand(len(noise), -1, -1, -1)
    return sampled_by(
        listen,
        denoise,
        about,
        frames=frames.input.numpy(),
        reference=frames.reference.numpy(),
        mask=mask.numpy(),
        mel=frames.frame_mel.numpy(),
        noise=noise.numpy(),
    )


def called(run):
    """Return a function of arrays of one that runs a network on tensors."""
    return lambda *inputs: run([torch.from_numpy(np.ascontiguousarray(each)) for each in inputs])[0].numpy()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_steps_in_numpy_are_those_of_the_module(name):
    module = moved(diff2lip(**OPTIONS[name])).eval()
    sound, denoiser = module.exportable()
    frames = frames_to_make(module)
    with torch.no_grad():
        theirs = module.make(frames).numpy()
    runs = [called(lambda inputs, part=part: programs.eager(part.network, inputs)) for part in (sound, denoiser)]
    ours = in_numpy(module, frames, *runs, denoiser.about)
    assert np.abs(ours - theirs).max() < 1e-5
    assert theirs.std() > 0.1
    assert len(denoiser.about["schedule"]) == 3
    assert isinstance(sound.network, Listener)
    assert isinstance(denoiser.network, Denoiser)


def test_the_steps_are_of_any_number_and_spacing():
    for spacing, steps in (("leading", 4), ("trailing", 7)):
        module = moved(diff2lip(sampling={"steps": steps, "spacing": spacing}, diffusion={"steps": 50})).eval()
        sound, denoiser = module.exportable()
        runs = [called(lambda inputs, part=part: programs.eager(part.network, inputs)) for part in (sound, denoiser)]
        frames = frames_to_make(module)
        with torch.no_grad():
            assert np.abs(in_numpy(module, frames, *runs, denoiser.about) - module.make(frames).numpy()).max() < 1e-5
        assert json.loads(json.dumps(denoiser.about))["schedule"][0][0] == denoiser.about["schedule"][0][0]


def test_one_pass_is_that_of_the_baseline():
    module = moved(Wav2Lip(face_size=16, unet=UNET, audio={"width": 4}, experts=SMALL["experts"])).eval()
    (part,) = module.exportable()

    def reference(frames, reference, mask, mel):
        return module.one_pass(module.shown, frames, reference, mask=mask, frame_mel=mel)

    frames, reference_frames, mask, mel = part.example()
    mask = (mask > 0.5).float()
    with torch.no_grad():
        ours = part.network(frames, reference_frames, mask, mel)
        theirs = reference(frames, reference_frames, mask, mel)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert theirs.std() > 1e-3


@pytest.mark.slow  # 40 s
def test_the_files_dub_as_the_module_does(tmp_path):
    module = moved(diff2lip()).eval()
    parts = ("diff2lip_sound", "diff2lip_denoiser")
    assert set(exported(module, tmp_path)) == {f"{part}.{kind}" for part in parts for kind in ("onnx", "pt2")}
    about = json.loads((tmp_path / "diff2lip_denoiser.json").read_text())
    frames = frames_to_make(module)
    with torch.no_grad():
        theirs = module.make(frames).numpy()
    for kind, load in (("onnx", programs.onnx_of), ("pt2", programs.program_of)):
        runs = [called(load(tmp_path / f"{part}.{kind}")) for part in parts]
        assert np.abs(in_numpy(module, frames, *runs, about) - theirs).max() < 1e-4


@pytest.mark.slow  # 30 s
def test_the_baseline_in_both_formats(tmp_path):
    module = moved(Wav2Lip(face_size=16, unet=UNET, audio={"width": 4}))
    assert set(exported(module, tmp_path)) == {"wav2lip.onnx", "wav2lip.pt2"}
    same_as(module.eval().exportable()[0], module.exportable()[0].network)
