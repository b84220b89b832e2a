"""Drawn people in many poses, batches of task "subject", and modules that reenact them well and badly."""

from functools import cache
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.procedural.faces.faces import Face, face_identity, render_face
from datamodules.procedural.faces.identities import sample_expression, sample_pose
from datamodules.procedural.scenes.scenes import generator
from networks.reenacted import Reenacted, method_name, shot_numbers

SIZE = 64
WORLD = 11
SOURCES, TARGETS = 4, 5
LABELS = 19
_POSE, _EXPRESSION = 71, 72  # streams of random numbers that nothing else has


@cache
def pictures(person: int) -> list[Face]:
    """Return the sources and then the targets of a person, whose place and light stay the same."""
    numbers = range(100 * person, 100 * person + SOURCES + TARGETS)
    return [
        render_face(
            WORLD,
            person,
            SIZE,
            texture=place,
            identity=face_identity(WORLD, person),
            pose=sample_pose(generator(WORLD, number, _POSE)),
            expression=sample_expression(generator(WORLD, number, _EXPRESSION)),
        )
        for place, number in enumerate(numbers)
    ]


def images_of(faces: list[Face]) -> Tensor:
    """Return the pictures (F, 3, S, S) uint8."""
    return torch.from_numpy(np.stack([face.image for face in faces])).permute(0, 3, 1, 2).contiguous()


def labels_of(faces: list[Face]) -> Tensor:
    """Return the label maps (F, S, S) uint8."""
    return torch.from_numpy(np.stack([face.labels for face in faces]))


def drawings(first: int, count: int) -> Tensor:
    """Return drawings (F, 3, S, S) uint8 that say no more than which picture of a person they are of."""
    return torch.arange(first, first + count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, SIZE, SIZE)


def noisy(labels: Tensor, seed: int) -> Tensor:
    """Return label maps with every tenth pixel wrong."""
    wrong = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.1
    return torch.where(wrong, (labels + 1) % LABELS, labels)


def subject(person: int, **changed: Any) -> dict[str, Any]:
    """Return the batch of a person; ``changed`` takes the place of what it says."""
    shots, targets = pictures(person)[:SOURCES], pictures(person)[SOURCES:]
    marks = torch.from_numpy(np.stack([face.landmarks for face in pictures(person)]))
    batch = {
        "task": "subject",
        "name": [f"person-{person:02d}"],
        "shots": images_of(shots)[None],
        "shot_drawings": drawings(0, SOURCES)[None],
        "shot_landmarks": marks[None, :SOURCES],
        "image": images_of(targets)[None],
        "drawing": drawings(SOURCES, TARGETS)[None],
        "landmarks": marks[None, SOURCES:],
        "found": torch.ones(1, TARGETS, dtype=torch.bool),
        "labels": noisy(labels_of(targets), person)[None],
        "true_labels": labels_of(targets)[None],
    }
    return {**batch, **changed}


def loader(people: Any, **changed: Any) -> DataLoader:
    """Return the batches of some people."""
    return DataLoader([subject(person, **changed) for person in people], batch_size=None)


class PerfectReenactor(LightningModule):
    """Draws the person of the shots as the drawings ask for, with the layout of its true label map.

    Args:
        shots: the numbers K.
        people: whom it knows.
    """

    def __init__(self, shots: tuple[int, ...] = (1, 4), people: int = 6):
        super().__init__()
        self.shots, self.people = shots, people

    def person_of(self, shots: Tensor) -> int:
        """Return whom shots (K, 3, S, S) in [0, 1] show."""
        (person,) = [
            person
            for person in range(self.people)
            if (images_of(pictures(person)[:SOURCES]).float() / 255 - shots[:1].cpu()).abs().flatten(1).sum(1).min() < 1
        ]
        return person

    def reenact(
        self, shots: Tensor, drawings_of_shots: Tensor, drawing: Tensor, *, labels: Tensor | None = None
    ) -> Reenacted:
        faces = pictures(self.person_of(shots))
        asked = [faces[round(float(each.mean()) * 255)] for each in drawing]
        layout = torch.nn.functional.one_hot(labels_of(asked).long(), LABELS).permute(0, 3, 1, 2).float()
        images = (images_of(asked).float() / 255).to(shots.device)
        return Reenacted(images, layout.to(shots.device), len(shots), fine_tuned=False)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Reenacted] | None:
        if batch["task"] != "subject":
            return None
        shots, drawn = (batch[key][0].float() / 255 for key in ("shots", "shot_drawings"))
        results = {}
        for count in self.shots:
            chosen = shot_numbers(len(shots), count)
            results[method_name(count)] = self.reenact(shots[chosen], drawn[chosen], batch["drawing"][0].float() / 255)
        return results

    validation_step = test_step

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> None:
        return None


class Unmoved(PerfectReenactor):
    """Gives the first shot, whatever it is asked for."""

    @override
    def reenact(
        self, shots: Tensor, drawings_of_shots: Tensor, drawing: Tensor, *, labels: Tensor | None = None
    ) -> Reenacted:
        return Reenacted(shots[:1].expand(len(drawing), -1, -1, -1), None, len(shots), fine_tuned=False)


class Blind(PerfectReenactor):
    """Draws the first person whoever is on the shots."""

    @override
    def person_of(self, shots: Tensor) -> int:
        return 0


class Silent(PerfectReenactor):
    """Returns something else."""

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        return batch["image"]
