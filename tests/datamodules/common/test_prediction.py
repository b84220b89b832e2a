import logging
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset, default_collate

import cli
from datamodules.common.image_files import UnreadableImageError
from datamodules.common.prediction import PredictsFiles
from datamodules.images.image_folder import ImageFolder
from tests.helpers.image_files import save_photo, truncate
from tests.helpers.odd_files import READ, THIN, UNUSABLE, make_odd_folder
from tests.helpers.processes import two_processes
from visionscapes.errors import UserError


class Numbers(Dataset):
    """Ten samples of which every third cannot be made."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index % 3 == 0:
            raise UnreadableImageError.of(f"{index}.jpg", "it is spoilt", "Replace it")
        return {"image": torch.zeros(3, 4, 4 + index % 2), "path": f"{index}.jpg"}


class Data(PredictsFiles):
    def __init__(self, skip=True, **options):
        super().__init__()
        self.skip_unreadable, self.options = skip, options

    def predict_dataloader(self):
        return self.usable_batches(Numbers(), collate_fn=default_collate, **self.options)


def paths(batches):
    return [path for batch in batches for path in batch["path"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_passed_over_and_named(caplog, workers):
    data = Data(num_workers=workers)
    assert paths(data.predict_dataloader()) == [f"{k}.jpg" for k in range(10) if k % 3]
    fault = "cannot read the image {}.jpg: it is spoilt"
    assert caplog.messages == [f"left out: {fault.format(k)}" for k in (0, 3, 6, 9)], "without what to do"
    caplog.clear()
    data.teardown("predict")
    (message,) = caplog.messages
    assert message.splitlines() == ["left out 4 of 10 files:", *(f"  {fault.format(k)}" for k in (0, 3, 6, 9))]


def test_a_batch_keeps_the_samples_that_there_are():
    data = Data(batch_size=3)
    data.usable_batches(Numbers(), collate_fn=list, batch_size=3)
    batches = list(data.usable_batches(Numbers(), collate_fn=list, batch_size=3))
    assert [[sample["path"] for sample in batch] for batch in batches] == [["1.jpg", "2.jpg"]] + [
        [f"{k}.jpg", f"{k + 1}.jpg"] for k in (4, 7)
    ]


def test_without_being_asked_to_the_first_one_ends_the_run():
    with pytest.raises(UnreadableImageError, match=r"0\.jpg: it is spoilt\. Replace it\."):
        list(Data(skip=False).predict_dataloader())


def refuses_odd_widths(height, width):
    if width % 2:
        raise UserError(f"{width} is odd")


@pytest.mark.parametrize("skip", [True, False])
def test_what_the_module_refuses_counts_too(caplog, monkeypatch, skip):
    data = Data(skip=skip)
    data.trainer = SimpleNamespace(accelerator=None, lightning_module=SimpleNamespace(check_image=refuses_odd_widths))
    monkeypatch.setattr(Numbers, "__getitem__", lambda self, k: {"image": torch.zeros(3, 4, 4 + k), "path": f"{k}.jpg"})
    if skip:
        assert paths(data.predict_dataloader()) == [f"{k}.jpg" for k in (0, 2, 4, 6, 8)]
        assert "left out: cannot use the image 1.jpg: 5 is odd" in caplog.messages
    else:
        with pytest.raises(UserError, match=r"cannot use the image 1\.jpg: 5 is odd\. .*skip_unreadable=true"):
            list(data.predict_dataloader())


def test_nothing_to_use_is_an_error_at_the_end(monkeypatch):
    data = Data()
    monkeypatch.setattr(Numbers, "__len__", lambda self: 1)
    assert list(data.predict_dataloader()) == []
    data.teardown("fit")
    with pytest.raises(UserError, match=r"None of the 1 files can be used; the first: .*0\.jpg"):
        data.teardown("predict")


def test_nothing_is_said_of_usable_files(caplog):
    data = Data()
    data.usable_batches(torch.arange(3), collate_fn=list)
    list(data._batches)
    data.teardown("predict")
    assert caplog.messages == []


def predict_odd(folder, **options):
    data = ImageFolder(str(folder), num_workers=0, predict_size=16, **options)
    data.setup("predict")
    return data


def test_a_folder_of_odd_files_is_predicted_in_order(tmp_path, caplog):
    names = make_odd_folder(tmp_path)
    data = predict_odd(tmp_path, skip_unreadable=True)
    found = [path.removeprefix(f"{tmp_path}/") for path in paths(data.predict_dataloader())]
    assert found == sorted([*names, *THIN]), "of what cannot be read nothing, and of what is read nothing is missing"
    assert len(READ) > 30
    counted = "left out 6 files that are no images: 1 without a suffix, 1 .eps, 1 .h5, 1 .mp4, 1 .pdf, 1 .txt"
    assert f"{tmp_path}: {counted}" in caplog.messages
    for name in UNUSABLE:
        assert (
            sum(f"left out: cannot read the image {tmp_path / name}: " in message for message in caplog.messages) == 1
        )
    caplog.clear()
    data.teardown("predict")
    assert f"left out {len(UNUSABLE)} of {len(READ) + len(UNUSABLE) + 1} files:" in caplog.text


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.timeout(60)
def test_each_unusable_file_ends_a_run_with_its_name_and_the_option(tmp_path, name):
    UNUSABLE[name](tmp_path / name)
    with pytest.raises(UserError, match="skip_unreadable=true") as error:
        list(predict_odd(tmp_path).predict_dataloader())
    assert str(error.value).startswith(f"cannot read the image {tmp_path / name}: ")


def predict_in_a_process(rank, folder):
    logging.basicConfig(filename=folder.parent / f"log-{rank}", format="%(message)s")
    words = [f"--data.root={folder}", "--data.num_workers=0", "--data.predict_size=16", "--data.skip_unreadable=true"]
    model = (
        "--model.backbone={class_path: networks.ViTFeatures, init_args: {model: vit_tiny_patch16_224, weights: null,"
    )
    model += " model_args: {patch_size: 4, img_size: 16, embed_dim: 12, depth: 1, num_heads: 2}}}"
    run = cli.main(
        [
            *("predict", "--model=LiFT", model, f"--model.weights={folder.parent / 'block.safetensors'}"),
            *("--data=ImageFolder", *words, f"--runs_dir={folder.parent / 'runs'}", "--name=two"),
            *("--trainer.callbacks=callbacks.FeatureWriter", "--trainer.accelerator=cpu", "--trainer.devices=2"),
            *("--trainer.strategy=ddp", "--trainer.enable_progress_bar=false"),
        ]
    )
    assert run.trainer.world_size == 2


def test_two_processes_leave_out_the_same_and_count_together(tmp_path):
    from safetensors.torch import save_file

    from networks.lift_block import LiFTBlock

    save_file(LiFTBlock(12, 4).state_dict(), tmp_path / "block.safetensors")
    for number in range(7):
        save_photo(tmp_path / "photos" / f"{number}.png", seed=number)
    for number in (1, 2, 5):
        truncate(tmp_path / "photos" / f"{number}.png")
    save_photo(tmp_path / "photos" / "thin.png", 2000, 3)
    two_processes(predict_in_a_process, tmp_path / "photos")
    written = sorted(path.name for path in (tmp_path / "runs").glob("lift/two/features/*"))
    assert written == [f"{number}.png.safetensors" for number in (0, 3, 4, 6)]
    logs = [(tmp_path / f"log-{rank}").read_text() for rank in (0, 1)]
    assert logs[0].count("left out 4 of 8 files:") == 1
    assert "left out 4 of 8" not in logs[1], "the first process speaks for all"
    for name in ("1.png", "2.png", "5.png", "thin.png"):
        assert (
            sum(
                f"left out: cannot {what} the image {tmp_path / 'photos' / name}" in log
                for log in logs
                for what in ("read", "use")
            )
            == 1
        )
        assert name in logs[0]
