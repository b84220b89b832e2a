from datetime import timedelta

import pytest
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.strategies import DDPStrategy

from callbacks.generation.shot_control import NAMED, NAMED_BY_PERSON, TO_DRIVER, TO_SOURCE, ShotControl
from networks.identity import IdentityEmbedder
from tests.callbacks.generation.cases import values
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.reenacted_subjects import (
    TARGETS,
    Blind,
    PerfectReenactor,
    images_of,
    loader,
    pictures,
    subject,
)
from visionscapes.errors import UserError


def measured(folder, module, batches, **options):
    callback = ShotControl(**options)
    quiet_trainer(folder, [callback]).test(module, batches, verbose=False)
    return callback


def difference(one, other, targets):
    first, second = (images_of(pictures(person)[-TARGETS:])[targets].double() for person in (one, other))
    return float((first - second).abs().mean())


def test_a_perfect_reenactment_obeys_the_shots(tmp_path):
    callback = measured(tmp_path, PerfectReenactor(), loader([2, 0, 1]), targets=2)
    found = values(callback)
    assert found["L1", "own shots"] == 0
    shown = [0, TARGETS // 2]
    expected = [difference(0, 2, shown), difference(1, 0, shown), difference(2, 1, shown)]
    assert found["L1", "another's shots"] == pytest.approx(sum(expected) / 3)
    assert found["own is nearer", "own shots"] == 1
    assert found[NAMED, "own shots"] == found[NAMED, "truth"] == 1
    assert found[NAMED_BY_PERSON, "own shots"] > 0.8
    assert found[NAMED, "chance"] == pytest.approx(1 / 3)
    assert {row.count for row in callback.results} == {3}


def test_what_makes_nothing_of_its_shots_is_found(tmp_path):
    found = values(measured(tmp_path, Blind(), loader([1, 2, 3])))
    assert found["L1", "own shots"] == found["L1", "another's shots"] > 0
    assert found["own is nearer", "own shots"] == 0
    assert found[NAMED, "own shots"] < 0.5 < found[NAMED, "truth"]


class ByPlace(IdentityEmbedder):
    """Embeds pictures of one person in one direction, found by their bytes."""

    title = "exact"

    def __init__(self):
        super().__init__()
        self.known = torch.nn.Parameter(
            torch.stack([images_of(pictures(person)).float().mean((0, 1)).flatten() for person in range(4)])
        )

    def embed(self, images):
        means = 255 * images.mean(1).flatten(1)
        return torch.nn.functional.one_hot(torch.cdist(means, self.known).argmin(1), 4).float()


def test_a_driver_does_not_become_the_person(tmp_path):
    """With another's shots the other is to be seen, in the poses of the one whose drawings they are."""
    found = values(measured(tmp_path, PerfectReenactor(), loader([1, 2, 3]), embedder=ByPlace()))
    assert (found[TO_SOURCE, "another's shots"], found[TO_DRIVER, "another's shots"]) == (1, 0)
    found = values(measured(tmp_path, Blind(), loader([1, 2, 3]), embedder=ByPlace()))
    assert found[TO_SOURCE, "another's shots"] < 0.5


def test_swapped_shots_are_found(tmp_path):
    class Swapping(PerfectReenactor):
        def person_of(self, shots):
            return (super().person_of(shots) + 1) % 2

    found = values(measured(tmp_path, Swapping(), loader([0, 1])))
    assert found["L1", "another's shots"] == 0
    assert found["own is nearer", "own shots"] == 0
    assert found[NAMED, "own shots"] == 0


def test_one_of_as_many_candidates_as_asked_for(tmp_path):
    found = values(measured(tmp_path, PerfectReenactor(), loader(range(5)), candidates=2, targets=1))
    assert found[NAMED, "chance"] == 0.5
    assert found[NAMED, "own shots"] == 1


def test_colours_come_from_targets_that_are_not_shown(tmp_path):
    """A person whose shown targets look like nobody, and the others like the person, is named by the others alone."""
    batches = [subject(person) for person in (0, 1)]
    grey = [batch["image"].clone() for batch in batches]
    for images in grey:
        images[:, [0, TARGETS // 2]] = 128
    batches = [batch | {"image": images} for batch, images in zip(batches, grey, strict=True)]
    found = values(measured(tmp_path, PerfectReenactor(), torch.utils.data.DataLoader(batches, batch_size=None)))
    assert found[NAMED, "own shots"] == 1, "of targets that are as they were"
    assert found[NAMED, "truth"] == 0.5, "of grey ones, of which both people have the same"
    assert found["L1", "own shots"] > 0


def test_a_single_target_tells_nobodys_colours(tmp_path):
    def first(batch, count):
        of_targets = ("image", "drawing", "landmarks", "found", "labels", "true_labels")
        return {name: value[:, :count] if name in of_targets else value for name, value in batch.items()}

    batches = [first(subject(person), count) for person, count in ((0, 1), (1, 2), (2, 4))]
    callback = measured(tmp_path, PerfectReenactor(), torch.utils.data.DataLoader(batches, batch_size=None))
    assert {row.count for row in callback.results if row.metric in (NAMED, NAMED_BY_PERSON)} == {2}
    assert {row.count for row in callback.results if row.metric == "L1"} == {3}
    assert values(callback)[NAMED, "truth"] == 1


def test_without_label_maps_there_are_no_colours(tmp_path):
    batches = []
    for person in (0, 1):
        batch = subject(person)
        del batch["true_labels"], batch["labels"]
        batches.append(batch)
    found = values(measured(tmp_path, PerfectReenactor(), torch.utils.data.DataLoader(batches, batch_size=None)))
    assert {metric for metric, _ in found} == {"L1", "own is nearer", TO_SOURCE, TO_DRIVER}


def test_nobody_to_compare_with(tmp_path, capsys):
    assert measured(tmp_path, PerfectReenactor(), loader([0])).results == []
    assert "there is one person in the test" in capsys.readouterr().out
    unknown = torch.zeros(1, TARGETS, dtype=torch.bool)
    assert measured(tmp_path, PerfectReenactor(), loader([0, 1], found=unknown)).results == []


def test_a_module_that_cannot_reenact_is_named(tmp_path):
    class Recorded(LightningModule):
        def test_step(self, batch, batch_idx):
            return {}

    with pytest.raises(UserError, match="ShotControl reenacts people anew, which Recorded cannot"):
        measured(tmp_path, Recorded(), loader([0]))


def one_rank(rank, root):
    callback = ShotControl()
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    trainer = quiet_trainer(root, [callback], strategy=strategy, devices=2, use_distributed_sampler=False)
    trainer.test(PerfectReenactor(), loader([[0, 1, 3], [2]][rank]), verbose=False)
    torch.save([vars(row) for row in callback.results], f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_with_unequal_shares_give_the_figures_of_one(tmp_path):
    one = measured(tmp_path / "one", PerfectReenactor(), loader([0, 1, 2, 3]))
    two_processes(one_rank, str(tmp_path))
    for rank in (0, 1):
        for mine, wanted in zip(torch.load(tmp_path / f"{rank}.pt"), one.results, strict=True):
            assert mine == pytest.approx(vars(wanted), nan_ok=True)
