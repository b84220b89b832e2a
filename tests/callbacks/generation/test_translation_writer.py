import csv

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from callbacks.generation.pictures import to_bytes
from callbacks.generation.translation_writer import TranslationWriter
from networks.generated import Generated, at_size, repeated, to_unit_range
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


def predict(folder, samples, module=None, batch_size=4):
    def collated(batch):
        return collate(batch) | {"task": "predict"}

    class Predicting(Skipping):
        def predict_step(self, batch, batch_idx):
            if "seeds" not in batch:
                return self.generate(batch)
            drawn = [
                self.generate(repeated(batch, index, 1), torch.Generator().manual_seed(seed)).image
                for index, seeds in enumerate(batch["seeds"].tolist())
                for seed in seeds
            ]
            return Generated(torch.cat(drawn), {})

    trainer = quiet_trainer(folder, [TranslationWriter()])
    module = module or Predicting(strength=0.4 if "seeds" in samples[0] else 0)
    trainer.predict(module, DataLoader(samples, batch_size=batch_size, collate_fn=collated))


def drawn(samples, draws):
    return [each | {"seeds": torch.arange(draws) + 100 * place} for place, each in enumerate(samples)]


def table(folder):
    with (folder / "translations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_file_a_pair(tmp_path):
    samples = pairs(2, 3)
    predict(tmp_path, samples)
    files = sorted((tmp_path / "translations").iterdir())
    assert [file.name for file in files] == sorted(f"{each['name']}.png" for each in samples)
    wanted = Skipping(strength=0).generate(collate(samples[-1:])).image
    with Image.open(tmp_path / "translations" / "1__2.png") as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), to_bytes(to_unit_range(wanted))[0].permute(1, 2, 0).numpy())
    assert (tmp_path / "pictures" / "style_transfer.png").is_file()
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


@pytest.mark.parametrize("size", [(9, 31), (16, 16), (50, 20), (1, 1)])
def test_an_image_has_the_size_of_its_label_map(tmp_path, size):
    where = {"size": torch.tensor(size), "window": torch.tensor([2, 0, 14, 16])}
    samples = [each | where for each in pairs(1, 2)]
    predict(tmp_path, samples)
    image = Skipping(strength=0).generate(collate(samples[1:])).image[0]
    with Image.open(tmp_path / "translations" / "0__1.png") as written:
        assert written.size == size[::-1]
        expected = to_bytes(to_unit_range(at_size(image, size, (2, 0, 14, 16))))
        assert np.array_equal(np.asarray(written), expected.permute(1, 2, 0).numpy())


def test_draws_are_files_of_their_own_and_how_they_vary_is_told(tmp_path):
    samples = drawn(pairs(2, 1), 4)
    samples = [each | {"size": torch.tensor([11, 23]), "window": torch.tensor([0, 0, 16, 16])} for each in samples]
    predict(tmp_path, samples)
    names = [f"{name}-{each}.png" for name in ("0__0", "1__0") for each in (*range(4), "std")]
    assert sorted(path.name for path in (tmp_path / "translations").iterdir()) == names
    rows = {row["name"]: row for row in table(tmp_path)}
    assert list(rows) == ["0__0", "1__0"]
    for name, row in rows.items():
        images = np.stack([np.asarray(Image.open(tmp_path / "translations" / f"{name}-{k}.png")) for k in range(4)])
        assert images.shape == (4, 11, 23, 3)
        deviation = (images / 255).std(0, ddof=1).mean(-1)
        assert row["draws"] == "4"
        assert float(row["std"]) == pytest.approx(deviation.mean(), rel=1e-5)
        assert float(row["largest std"]) == pytest.approx(deviation.max(), rel=1e-5)
        assert deviation.max() > 0.05
        with Image.open(tmp_path / "translations" / f"{name}-std.png") as shown:
            assert (shown.size, shown.mode) == ((23, 11), "L")
            white = float(shown.info["Description"].split("white is ")[1].split(",")[0])
            assert white == pytest.approx(deviation.max(), rel=1e-4)
            assert np.abs(np.asarray(shown) / 255 * white - deviation).max() < 0.6 * white / 255
    assert (tmp_path / "pictures" / "variation.png").stat().st_size > 0
    assert (tmp_path / "pictures" / "style_transfer.png").stat().st_size > 0


def test_draws_that_do_not_differ_are_told(tmp_path, capsys):
    class Same(Skipping):
        def predict_step(self, batch, batch_idx):
            return Generated(2 * batch["style"].repeat_interleave(2, 0) - 1, {})

    predict(tmp_path, drawn(pairs(1, 2), 2), Same())
    assert "4 translations" in (said := capsys.readouterr().out)
    assert "those of a pair are equal, without noise" in said
    assert [row["std"] for row in table(tmp_path)] == ["0.0", "0.0"]
    assert Image.open(tmp_path / "translations" / "0__0-std.png").getextrema() == (0, 0)


def test_many_draws_keep_few_pictures(tmp_path):
    predict(tmp_path, drawn(pairs(1, 150), 2), batch_size=7)
    assert len(list((tmp_path / "translations").iterdir())) == 450
    assert len(table(tmp_path)) == 150
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["variation.png"]
