import numpy as np
import pytest
import torch

from datamodules.clips import rendering
from datamodules.clips.rendering import render


def drawn(index):
    return {"index": index, "noise": np.random.default_rng(index).integers(0, 256, 10)}


@pytest.mark.parametrize("cores", [1, 2])
def test_rendering_on_several_cores_changes_nothing_and_takes_no_random_numbers(monkeypatch, cores):
    monkeypatch.setattr(rendering, "cores", lambda: cores)
    state = torch.get_rng_state()
    clips = render(drawn, 5, frames=10_000)
    assert torch.equal(torch.get_rng_state(), state)
    assert [clip["index"] for clip in clips] == [0, 1, 2, 3, 4]
    assert all(np.array_equal(clip["noise"], drawn(clip["index"])["noise"]) for clip in clips)


@pytest.mark.parametrize(("frames", "others"), [(100, 0), (10_000, 2)])
def test_few_frames_are_rendered_in_this_process(monkeypatch, frames, others):
    workers = []
    monkeypatch.setattr(rendering, "cores", lambda: 2)
    monkeypatch.setattr(rendering, "DataLoader", lambda clips, num_workers, **_: workers.append(num_workers) or clips)
    assert len(render(drawn, 3, frames)) == 3
    assert workers == [others]


def test_nothing_to_render():
    assert render(drawn, 0, 0) == []


def test_there_is_a_core():
    assert rendering.cores() >= 1
