from functools import partial

import pytest
import torch

from datamodules.clips.talking_world import world_clip
from datamodules.procedural.speech.speech import speak
from metrics.lip_sync import sync_scores
from networks.audio import MelSpectrogram
from networks.embedded_clip import embed_clip, embedded_clip, window_is_known
from networks.sync_network import SyncNetwork
from tests.helpers.runs import ROOT

SMALL = {"image_size": 24, "width": 4}


NETWORK = SyncNetwork(**SMALL, norm="group").eval()


def clip(frames, steps=None):
    generator = torch.Generator().manual_seed(0)
    steps = 1 + int(3.2 * frames) if steps is None else steps
    pictures = torch.randint(0, 256, (frames, 3, 30, 30), dtype=torch.uint8, generator=generator)
    return pictures, torch.randn(80, steps, generator=generator).clamp(-4, 4)


def test_chunks_give_the_embeddings_of_single_windows():
    pictures, sound = clip(23)
    video, audio = embed_clip(NETWORK, pictures, sound, chunk=7)
    assert len(video) == len(audio) == 19
    for start in (0, 6, 7, 18):
        window = pictures[None, start : start + 5].float() / 255
        first = int(3.2 * start)
        with torch.no_grad():
            torch.testing.assert_close(video[start], NETWORK.embed_faces(window)[0])
            own = NETWORK.embed_sound(sound[None, :, first : first + 16])[0]
        torch.testing.assert_close(audio[start], own)


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)])
def test_a_network_of_another_precision_embeds_too(dtype, kept):
    network = SyncNetwork(**SMALL, norm="group").eval()
    network.load_state_dict(NETWORK.state_dict())
    for made, wanted in zip(embed_clip(network.to(dtype), *clip(12)), embed_clip(NETWORK, *clip(12)), strict=True):
        assert made.dtype == kept
        torch.testing.assert_close(made.float(), wanted, rtol=0, atol=0.1 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize(("frames", "steps"), [(4, 100), (0, 0), (50, 10)])
def test_clips_without_a_window_have_no_embedding(frames, steps):
    video, audio = embed_clip(NETWORK, *clip(frames, steps))
    assert video.shape == audio.shape == (0, 64)


def test_a_window_is_known_where_all_its_frames_show_a_face():
    found = torch.tensor([True] * 3 + [False] + [True] * 6)
    assert window_is_known(found, 6).tolist() == [False] * 4 + [True] * 2
    assert window_is_known(found, 0).shape == (0,)


def test_a_clip_says_how_much_of_it_shows_a_face():
    pictures, sound = clip(20)
    found = torch.ones(20, dtype=torch.bool)
    found[:5] = False
    made = embedded_clip(NETWORK, "a", pictures, sound, found)
    assert (made.name, made.frames, made.faces, made.threshold) == ("a", 20, 0.75, 0.5)
    assert made.known.tolist() == [False] * 5 + [True] * 11
    assert embedded_clip(NETWORK, "b", pictures[:0], sound, found[:0]).faces == 0


@pytest.fixture(scope="module")
def talkers():
    """Three clips of people and voices that no training has seen."""
    said = partial(speak, 987_654, seconds=2.4, pauses=0.1)
    return [world_clip(987_654, index, speak=said, size=48) for index in range(3)]


def moved(audio, frames):
    """Return sound that comes ``frames`` later, of the same length; 640 samples a frame."""
    silence = audio.new_zeros(abs(frames) * 640)
    return torch.cat([silence, audio])[: len(audio)] if frames >= 0 else torch.cat([audio, silence])[-frames * 640 :]


@pytest.mark.parametrize("weights", ["syncnet", "syncnet_judge"])
class TestCommittedWeights:
    def scores(self, weights, clip, audio):
        network = SyncNetwork.from_file(ROOT / "weights" / f"{weights}.safetensors")
        faces = torch.from_numpy(clip.faces).permute(0, 3, 1, 2)
        return sync_scores(*embed_clip(network, faces, MelSpectrogram()(audio)))

    @pytest.mark.parametrize("shift", [-6, 0, 9])
    def test_a_known_shift_is_found(self, weights, talkers, shift):
        for clip in talkers:
            score = self.scores(weights, clip, moved(clip.audio, shift))
            assert score.offset is not None
            assert abs(score.offset - shift) <= 1
            assert score.confidence > 0.3

    def test_noise_and_silence_have_next_to_no_confidence(self, weights, talkers):
        generator = torch.Generator().manual_seed(0)
        for clip in talkers:
            noise = 0.1 * torch.randn(len(clip.audio), generator=generator)
            spoken, noisy, silent = (
                self.scores(weights, clip, audio).confidence for audio in (clip.audio, noise, torch.zeros_like(noise))
            )
            assert max(noisy, silent) < 0.2 * spoken
