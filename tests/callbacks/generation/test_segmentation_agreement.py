import pytest
import torch

from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.generation.segmentation_agreement import SegmentationAgreement
from networks.segmenters import SMALL_SEGMENTER
from tests.callbacks.generation.cases import Skipping, TinyPairs, collate, run_test, sample, values
from visionscapes.errors import UserError


class Painted(Skipping):
    """Gives images whose red is the label that was asked for, wrong in the first ``wrong`` rows."""

    def __init__(self, wrong=0):
        super().__init__(strength=0, parts=False)
        self.wrong = wrong

    def generate(self, batch, noise=None):
        generated = super().generate(batch, noise)
        shown = batch["labels"].clone()
        shown[:, : self.wrong] = 3
        generated.image[:, 0] = shown / 2 - 1
        return generated


class Reader(torch.nn.Module):
    """Reads the label out of the red, at half the resolution if ``coarse``."""

    title = "red"

    def __init__(self, classes=4, coarse=False):
        super().__init__()
        self.classes, self.coarse = classes, coarse

    def forward(self, images):
        labels = (images[:, 0] * 4).round().long().clamp(0, self.classes - 1)
        logits = torch.nn.functional.one_hot(labels, self.classes).permute(0, 3, 1, 2).float()
        return torch.nn.functional.avg_pool2d(logits, 2) if self.coarse else logits


class Unlabelled(TinyPairs):
    """Data whose last four columns have no label."""

    def loader(self):
        loaders = super().loader()
        samples = [sample(index) for index in range(self.samples)]
        for each in samples:
            each["labels"][:, 12:] = 255
        return {"pairs": torch.utils.data.DataLoader(samples, self.batch_size, collate_fn=collate)} | {
            "other": loaders["other"]
        }

    test_dataloader = val_dataloader = loader

    def pairs(self, part):
        assert part == "train"
        samples = [sample(100 + index) for index in range(6)]
        for each in samples:
            each["image"][0] = each["labels"] / 4
            each["labels"][:, 12:] = 255
        return samples


def measured(folder, module, segmenter, data=None, **options):
    callback = SegmentationAgreement(segmenter, **options)
    run_test(folder, [callback], module, data or TinyPairs())
    return callback, values(callback)


def test_images_that_show_what_was_asked_for(tmp_path):
    callback, found = measured(tmp_path, Painted(), Reader())
    assert found["mIoU (red)", "image"] == found["pixel accuracy (red)", "image"] == 1
    assert found["pixel accuracy (red)", "truth"] < 0.6, "the true images have no such red"
    assert {(row.protocol, row.count) for row in callback.results} == {("segmentation", 7)}
    assert {row.method for row in callback.results} == {"image", "truth"}
    _, found = measured(tmp_path, Painted(4), Reader())
    assert found["pixel accuracy (red)", "image"] == pytest.approx(0.75)
    _, coarse = measured(tmp_path, Painted(4), Reader(coarse=True))
    assert coarse["pixel accuracy (red)", "image"] == pytest.approx(0.75, abs=0.1)


def test_pixels_without_a_label_do_not_count(tmp_path):
    found = [measured(tmp_path, Painted(4), Reader(), data(samples=7))[1] for data in (Unlabelled, TinyPairs)]
    assert found[0]["pixel accuracy (red)", "image"] == pytest.approx(0.75)
    assert found[0].keys() == found[1].keys()


def test_a_small_network_learns_the_training_pairs(tmp_path, capsys):
    """It calls the red that it was taught by its label, as in every run, and leaves other figures as they are."""
    results = []
    for _ in range(2):
        other = ReconstructionEvaluation()
        callback = SegmentationAgreement(steps=40)
        run_test(tmp_path, [callback, other], Painted(), Unlabelled())
        results.append([repr(row) for row in callback.results + other.results])
    assert "a small network learns to segment 6 training pairs" in capsys.readouterr().out
    assert values(callback)[f"pixel accuracy ({SMALL_SEGMENTER})", "image"] > 0.8
    assert results[0] == results[1]
    alone = ReconstructionEvaluation()
    run_test(tmp_path, [alone], Painted(), Unlabelled())
    assert results[0][len(callback.results) :] == [repr(row) for row in alone.results]


def test_a_generator_with_parts(tmp_path):
    _, found = measured(tmp_path, Skipping(strength=0), Reader())
    assert {method for _, method in found} == {"image", "reconstruction", "truth"}


def test_what_it_cannot_measure(tmp_path):
    with pytest.raises(UserError, match="no training pairs of TinyPairs"):
        measured(tmp_path, Painted(), None)
    with pytest.raises(UserError, match=r"red has 5 classes, and the data 4.*labels of TransformersSegmenter"):
        measured(tmp_path, Painted(), Reader(5))
    edges = TinyPairs()
    edges.classes = None
    with pytest.raises(UserError, match="compares with label maps"):
        measured(tmp_path, Painted(), Reader(), edges)
