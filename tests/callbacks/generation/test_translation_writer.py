import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from callbacks.generation.pictures import to_bytes
from callbacks.generation.translation_writer import TranslationWriter
from callbacks.results.figures import LARGEST_PNG
from networks.generated import to_unit_range
from tests.callbacks.generation.cases import Skipping, collate, sample
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def pairs(labels, styles, rename=lambda name: name):
    samples = []
    for label in range(labels):
        for style in range(styles):
            each = sample(style)
            name = rename(f"{label}__{style}")
            samples.append({"labels": sample(label)["labels"], "style": each["image"], "name": name})
    return samples


def predict(folder, samples, module=None):
    def collated(batch):
        return collate(batch) | {"task": "predict"}

    class Predicting(Skipping):
        def predict_step(self, batch, batch_idx):
            return self.generate(batch)

    trainer = quiet_trainer(folder, [TranslationWriter()])
    trainer.predict(module or Predicting(strength=0), DataLoader(samples, batch_size=4, collate_fn=collated))


def test_one_file_a_pair(tmp_path):
    samples = pairs(2, 3)
    predict(tmp_path, samples)
    files = sorted((tmp_path / "translations").iterdir())
    assert [file.name for file in files] == sorted(f"{each['name']}.png" for each in samples)
    wanted = Skipping(strength=0).generate(collate(samples[-1:])).image
    with Image.open(tmp_path / "translations" / "1__2.png") as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), to_bytes(to_unit_range(wanted))[0].permute(1, 2, 0).numpy())
    assert (tmp_path / "pictures" / "style_transfer.png").stat().st_size <= LARGEST_PNG
    assert not (tmp_path / "translations.part").exists()


def test_many_pairs_have_no_overview(tmp_path):
    predict(tmp_path, pairs(1, 13))
    assert len(list((tmp_path / "translations").iterdir())) == 13
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("name", ["0__0", "../0__1", ""])
def test_names_that_cannot_be_are_refused_before_files_appear(tmp_path, name):
    samples = pairs(2, 3, lambda old: name if old == "1__2" else old)
    with pytest.raises(UserError, match=r"share a file|no name of a file"):
        predict(tmp_path, samples)
    assert not (tmp_path / "translations").exists()
    assert not (tmp_path / "translations.part").exists()


def test_needs_a_module_that_translates(tmp_path):
    class Other(Skipping):
        def predict_step(self, batch, batch_idx):
            return torch.zeros(1)

    with pytest.raises(UserError, match="does not predict"):
        predict(tmp_path, pairs(1, 1), Other())
