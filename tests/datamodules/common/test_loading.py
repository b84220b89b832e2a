import ast
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator
from torch.utils.data import Dataset

from datamodules import DetectionScenes, FaceWorld, SceneWorld, SourceWorld, SubjectWorld, TalkingWorld
from datamodules.common import loading
from datamodules.common.loading import (
    GlobalPermutation,
    ResumableLoader,
    SeededDataset,
    Strided,
    eval_loader,
    step_generator,
    train_loader,
)
from tests.helpers.resume_module import NoisyImages
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed


def batches(size: int, batch_size: int, world_size: int = 1, epoch: int = 0, seed: int = 0) -> list[list[int]]:
    """The indices of every global batch, put together from what each rank is dealt."""
    dealt = []
    for rank in range(world_size):
        sampler = GlobalPermutation(size, batch_size, seed, rank, world_size)
        sampler.set_epoch(epoch)
        draws = list(sampler)
        assert len(draws) == len(sampler)
        assert {drawn for _, drawn in draws} == {epoch}
        dealt.append([index for index, _ in draws])
    count = len(dealt[0]) // batch_size
    return [[i for rank in dealt for i in rank[k * batch_size : (k + 1) * batch_size]] for k in range(count)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 60), st.integers(-3, 5), st.integers(0, 3))
def test_global_batches_do_not_depend_on_the_number_of_processes(batch_size, world_size, extra, seed, epoch):
    size = batch_size * world_size + extra
    many = batches(size, batch_size, world_size, epoch, seed)
    one = batches(size, batch_size * world_size, 1, epoch, seed)
    assert [sorted(batch) for batch in many] == [sorted(batch) for batch in one]
    seen = [index for batch in many for index in batch]
    assert len(set(seen)) == len(seen) == size - size % (batch_size * world_size)
    assert set(seen) <= set(range(size))


def test_order_depends_on_seed_and_epoch_only():
    assert batches(64, 4) == batches(64, 4)
    orders = [batches(64, 4, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_the_tail_left_out_changes():
    left = {frozenset(range(10)) - {i for batch in batches(10, 4, epoch=epoch) for i in batch} for epoch in range(20)}
    assert len(left) > 5


def test_fewer_samples_than_a_global_batch_are_refused():
    with pytest.raises(UserError, match=r"7 samples.*global batch of 8 \(4 x 2 processes\).*at most 3"):
        GlobalPermutation(7, 4, world_size=2)
    with pytest.raises(UserError, match="7 samples"):
        train_loader(NoisyImages(7), batch_size=8)


def epochs(loader: ResumableLoader, first: int, last: int) -> list[tuple[list[int], torch.Tensor]]:
    seen = []
    for epoch in range(first, last):
        loader.sampler.set_epoch(epoch)
        seen += [(batch["index"].tolist(), batch["image"]) for batch in loader]
    return seen


def assert_same(ours: list[tuple[list[int], torch.Tensor]], theirs: list[tuple[list[int], torch.Tensor]]) -> None:
    assert [indices for indices, _ in ours] == [indices for indices, _ in theirs]
    for (_, a), (_, b) in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume_at_any_batch_equals_the_uninterrupted_run(num_workers):
    def loader(workers: int) -> ResumableLoader:
        return train_loader(NoisyImages(22), batch_size=4, num_workers=workers, seed=3)

    full = epochs(loader(0), 0, 3)
    assert_same(epochs(loader(num_workers), 0, 3), full)
    for consumed in range(5) if num_workers == 0 else [2]:
        interrupted = loader(num_workers)
        interrupted.sampler.set_epoch(1)
        iterator = iter(interrupted)
        for _ in range(consumed):
            next(iterator)
        state = interrupted.state_dict()
        assert (state["epoch"], state["batches"]) == ((1, consumed) if consumed else (0, 0))

        resumed = loader(num_workers)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert len(resumed) == 5
        assert_same(epochs(resumed, 1, 3), full[5 + consumed :])


def test_the_next_epoch_starts_at_its_first_batch():
    loader = train_loader(NoisyImages(22), batch_size=4)
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "batches": 5})
    assert len(epochs(loader, 0, 1)) == 0
    assert len(epochs(loader, 1, 2)) == 5
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "batches": 5})
    assert len(epochs(loader, 1, 2)) == 5


def test_nothing_is_drawn_before_the_first_batch():
    # Lightning makes the iterator first and sets the epoch afterwards.
    loader = train_loader(NoisyImages(22), batch_size=4)
    iterator = iter(loader)
    loader.sampler.set_epoch(4)
    assert next(iterator)["index"].tolist() == batches(22, 4, epoch=4)[0]


def interrupted_after_a_batch():
    loader = train_loader(NoisyImages(40), batch_size=8)
    next(iter(loader))
    return loader.state_dict()


def test_a_changed_dealing_is_reported():
    loader = train_loader(NoisyImages(22), batch_size=4)
    loader.load_state_dict(interrupted_after_a_batch())
    with pytest.warns(UserWarning, match=r"size was 40, is 22, global_batch_size was 8, is 4"):
        next(iter(loader))


def test_data_that_change_with_the_next_epoch_are_no_reason_to_warn(recwarn):
    loader = train_loader(NoisyImages(22), batch_size=4)
    loader.load_state_dict(interrupted_after_a_batch())
    loader.sampler.set_epoch(1)
    next(iter(loader))
    assert not [each for each in recwarn if "will differ" in str(each.message)]


def generator_states() -> tuple:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loading_leaves_the_generators_of_the_main_process_alone(num_workers):
    before = generator_states()
    epochs(train_loader(NoisyImages(8), batch_size=4, num_workers=num_workers), 0, 2)
    list(eval_loader(NoisyImages(8, noise=False), num_workers=num_workers))
    assert generator_states() == before


def test_generators_are_put_back_after_an_error():
    class Broken(Dataset):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> None:
            raise OSError("unreadable")

    before = generator_states()
    with pytest.raises(OSError, match="unreadable"):
        SeededDataset(Broken(), 0)[0, 0]
    assert generator_states() == before


def test_augmentations_differ_between_epochs_samples_and_seeds():
    images = [SeededDataset(NoisyImages(4), seed)[index, epoch]["image"] - index / 4 for seed in (0, 1)
              for index in (0, 1) for epoch in (0, 1)]  # fmt: skip
    assert all(not torch.allclose(a, b) for i, a in enumerate(images) for b in images[:i])


@given(st.integers(1, 9), st.integers(0, 70))
def test_evaluation_deals_every_sample_once(world_size, extra):
    size = world_size + extra
    dealt = [list(Strided(size, rank, world_size)) for rank in range(world_size)]
    assert sorted(index for rank in dealt for index in rank) == list(range(size))
    assert all(rank == sorted(rank) and rank for rank in dealt)


def test_evaluation_in_order_with_the_last_batch():
    loader = eval_loader(NoisyImages(7, noise=False), batch_size=3)
    assert [batch["index"].tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(eval_loader(NoisyImages(2), collate_fn=lambda samples: samples[0]["index"])) == [0, 1]


@pytest.mark.parametrize(("accelerator", "pinned"), [(CUDAAccelerator(), True), (CPUAccelerator(), False)])
def test_memory_is_pinned_for_the_accelerator_of_the_trainer(monkeypatch, accelerator, pinned):
    """Whatever GPU the machine has: a run on the CPU leaves it alone."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not pinned)
    trainer = SimpleNamespace(accelerator=accelerator)
    assert train_loader(NoisyImages(8), batch_size=4, trainer=trainer).pin_memory == pinned
    assert eval_loader(NoisyImages(8), trainer=trainer).pin_memory == pinned
    assert not train_loader(NoisyImages(8), batch_size=4).pin_memory
    assert not eval_loader(NoisyImages(8)).pin_memory


def test_every_data_module_says_which_trainer_asks():
    calls = [
        (path.name, call)
        for path in (Path(loading.__file__).parents[1]).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("train_loader", "eval_loader")
    ]
    assert len(calls) >= 15
    assert [name for name, call in calls if "trainer=self.trainer" not in ast.unparse(call)] == []


def test_fewer_samples_than_processes_are_refused_on_every_rank():
    for rank in range(4):
        with pytest.raises(UserError, match="3 samples for 4 processes"):
            Strided(3, rank, 4)


def test_what_a_batch_draws_is_a_function_of_seed_step_and_rank(monkeypatch):
    """In this order, which recorded runs depend on."""
    drawn = {}
    for rank in (0, 1):
        monkeypatch.setattr(loading, "rank_and_world_size", lambda rank=rank: (rank, 2))
        for seed, step in ((3, 5), (5, 3), (3, 6)):
            own, again = (torch.rand(4, generator=step_generator(seed, step)) for _ in range(2))
            assert torch.equal(own, again)
            wanted = torch.Generator().manual_seed(derived_seed(seed, step, rank) % 2**63)
            assert torch.equal(own, torch.rand(4, generator=wanted))
            drawn[seed, step, rank] = tuple(own.tolist())
    assert len(set(drawn.values())) == len(drawn)


@pytest.mark.parametrize(
    ("data", "options", "draws"),
    [
        (FaceWorld, {"images": 7}, "datamodules.translation.face_world.render_face"),
        (SceneWorld, {"scenes": 4, "crops": 3}, "datamodules.dense.scene_world.render_scene"),
        (SubjectWorld, {"subjects": 7}, "datamodules.analysis.subject_world._labelled"),
        (DetectionScenes, {"scenes": 7}, "datamodules.detection.scenes.scene_record"),
        (SourceWorld, {"images": 2}, "datamodules.sources.world.render_source"),
        (TalkingWorld, {"clips": 7}, "datamodules.clips.talking_world.talking_clip"),
    ],
)
def test_worlds_are_not_drawn_for_a_batch_that_they_do_not_fill(monkeypatch, data, options, draws):
    monkeypatch.setattr(draws, lambda *_, **__: pytest.fail("drawn"))
    with pytest.raises(UserError, match="less than one global batch of 100"):
        data(batch_size=100, **options).setup("fit")
