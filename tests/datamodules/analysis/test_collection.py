import pytest
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from datamodules.analysis.coco_instances import COCOInstances
from datamodules.analysis.collection import Collection
from datamodules.analysis.part_imagenet import PartImageNet
from datamodules.analysis.revisited_retrieval import RevisitedRetrieval
from datamodules.common.errors import DatasetNotFoundError
from datamodules.dense.davis import DAVIS2017
from datamodules.dense.spair import SPair71k
from tests.helpers.replicas import make_davis, make_spair
from tests.helpers.replicas_vit import make_coco_instances, make_part_imagenet, make_retrieval
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    make_spair(tmp_path)
    make_davis(tmp_path)
    make_coco_instances(tmp_path)
    make_part_imagenet(tmp_path / "PartImageNet")
    make_retrieval(tmp_path)
    make_retrieval(tmp_path, "rparis6k")
    return tmp_path


def spair(root):
    return SPair71k(str(root / "SPair-71k"), image_sizes=[16], num_workers=0)


def davis(root, **options):
    return DAVIS2017(str(root / "DAVIS"), **({"image_sizes": [16]} | options))


def coco(root, **options):
    return COCOInstances(str(root / "coco"), **({"image_size": 16, "num_workers": 0} | options))


def parts(root):
    return PartImageNet(str(root / "PartImageNet"), image_size=16, num_workers=0)


def ready(*members, **options):
    data = Collection(list(members), **options)
    data.setup("test")
    return data


def test_loaders_come_part_after_part(root):
    dense = davis(root, task="dense-video", image_sizes=[32], aspect="keep", long_side_multiple=1)
    data = ready(spair(root), davis(root), dense, coco(root, tasks=["objects"]))
    for loaders in (data.test_dataloader(), data.val_dataloader()):
        assert list(loaders) == ["keypoints@16", "video@16", "dense-video@32", "objects@32"]
        for name, loader in loaders.items():
            assert next(iter(loader))["task"] == name.partition("@")[0]


def test_the_same_task_of_several_data_sets_is_told_apart(root):
    data = ready(
        parts(root), coco(root), *(RevisitedRetrieval(str(root), [name], 16) for name in ("roxford5k", "rparis6k"))
    )
    loaders = data.test_dataloader()
    assert list(loaders) == [
        "saliency@16/PartImageNet",
        "parts@32",
        "saliency@16/COCO",
        "objects@32",
        "retrieval-database@16/ROxford5k",
        "retrieval-queries@16/ROxford5k",
        "retrieval-database@16/RParis6k",
        "retrieval-queries@16/RParis6k",
    ]
    for name in ("saliency@16/PartImageNet", "saliency@16/COCO"):
        assert next(iter(loaders[name]))["dataset"] == name.partition("/")[2]


@pytest.mark.parametrize("member", [spair, coco])
def test_two_loaders_of_one_name_are_an_error(root, member):
    data = ready(member(root), member(root))
    name = type(member(root)).__name__
    with pytest.raises(UserError, match=f"{name} and {name} both give the loader .*keep one of them"):
        data.test_dataloader()


def test_narrowing_to_tasks(root):
    data = ready(coco(root), parts(root), davis(root))
    data.only(["saliency", "video", "keypoints"])
    assert list(data.test_dataloader()) == ["saliency@16/COCO", "saliency@16/PartImageNet", "video@16"]
    data.only(["video", "keypoints"])
    assert list(data.test_dataloader()) == ["video@16"]
    data.only(None)
    assert len(data.test_dataloader()) == 5


def test_narrowing_to_what_is_unique_lifts_a_clash(root):
    data = ready(spair(root), spair(root), davis(root))
    data.only(["video"])
    assert list(data.test_dataloader()) == ["video@16"]


def test_missing_data_end_the_run_with_three_ways_out(root):
    with pytest.raises(DatasetNotFoundError) as error:
        ready(davis(root), SPair71k(str(root / "nowhere")))
    message = str(error.value)
    assert str(root / "nowhere") in message
    assert "data.init_args.parts[1].init_args.root" in message
    assert "--data.init_args.root" not in message
    assert message.endswith("  3. Go on without it: --data.init_args.skip_missing=true.")


def test_missing_data_can_be_left_out_which_is_said(root, caplog):
    data = ready(SPair71k(str(root / "nowhere")), davis(root), COCOInstances(str(root)), skip_missing=True)
    assert list(data.test_dataloader()) == ["video@16"]
    assert "Left out 2 of 3 data sets, not found: SPair-71k, looked for in" in caplog.text
    assert "nowhere; COCO val2017, looked for in" in caplog.text
    with pytest.raises(DatasetNotFoundError, match="SPair-71k was not found"):
        ready(SPair71k(str(root / "nowhere")), COCOInstances(str(root)), skip_missing=True)


def test_other_errors_are_not_skipped(root):
    (root / "coco" / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(UserError, match="is not an instances file"):
        ready(davis(root), coco(root), skip_missing=True)


def test_setting_up_again_leaves_no_part_twice(root):
    data = ready(spair(root), davis(root))
    data.setup("test")
    assert list(data.test_dataloader()) == ["keypoints@16", "video@16"]


def test_lightning_hooks_reach_the_parts():
    calls = []

    class Recorder(LightningDataModule):
        def prepare_data(self):
            calls.append("prepare_data")

        def setup(self, stage):
            calls.append(f"setup {stage}")

        def teardown(self, stage):
            calls.append(f"teardown {stage}")

        def test_dataloader(self):
            return DataLoader([1, 2])

    data = Collection([Recorder()])
    data.prepare_data()
    data.setup("test")
    data.teardown("test")
    assert calls == ["prepare_data", "setup test", "teardown test"]
    with pytest.raises(UserError, match="Recorder has no loaders by name"):
        data.test_dataloader()


def test_there_is_nothing_to_train_on_and_there_has_to_be_a_part(root):
    with pytest.raises(UserError, match=r"Collection only evaluates: run `python cli\.py test`"):
        ready(davis(root)).train_dataloader()
    with pytest.raises(UserError, match="parts is empty"):
        Collection([])


def test_parts_are_configured_by_class_path(root):
    parser = ArgumentParser()
    parser.add_subclass_arguments(Collection, "data")
    part = {"class_path": "datamodules.DAVIS2017", "init_args": {"root": str(root / "DAVIS"), "image_sizes": [16]}}
    other = {
        "class_path": "datamodules.PartImageNet",
        "init_args": {"root": str(root / "PartImageNet"), "num_workers": 0},
    }
    config = {"class_path": "datamodules.Collection", "init_args": {"parts": [part, other]}}
    data = parser.instantiate(parser.parse_object({"data": config})).data
    data.setup("test")
    assert list(data.test_dataloader()) == ["video@16", "saliency@224", "parts@448"]
