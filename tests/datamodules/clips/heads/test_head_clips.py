import numpy as np
import pytest
import torch

from datamodules import HeadClips
from datamodules.common.errors import DatasetNotFoundError
from tests.helpers.replicas_heads import SIDE, make_head_clip, write_label_maps
from visionscapes.errors import UserError

SMALL = {
    "image_size": 32,
    "shots": 3,
    "frames": 5,
    "sources": 4,
    "targets": 3,
    "batch_size": 2,
    "num_workers": 0,
    "val_share": 0.3,
}
FRAMES = 14  # a stride of 3: 0, 3, 6, 9, 12


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three people who train and one of the test, without sound."""
    root = tmp_path_factory.mktemp("heads")
    for person, name in enumerate(("train/a/x", "train/b/x", "train/c/x", "test/d/x")):
        make_head_clip(root / f"{name}.safetensors", person, FRAMES, without=(1,) if person == 3 else ())
    return root


def data_of(root, stage="fit", **options):
    data = HeadClips(str(root), **SMALL | options)
    data.setup(stage)
    return data


def test_training_batches_come_of_frames_at_a_constant_stride(root):
    data = data_of(root, rounds=4)
    batches = list(data.train_dataloader())
    assert len(batches) == 4
    names = set()
    for batch in batches:
        assert batch["task"] == "heads"
        shapes = {key: tuple(value.shape) for key, value in batch.items() if torch.is_tensor(value)}
        assert shapes == {
            "shots": (2, 3, 3, 32, 32),
            "shot_drawings": (2, 3, 3, 32, 32),
            "image": (2, 3, 32, 32),
            "drawing": (2, 3, 32, 32),
            "landmarks": (2, 68, 2),
        }
        for name, marks, image in zip(batch["name"], batch["landmarks"], batch["image"], strict=True):
            head = next(head for head in data.heads("train") if head.name == name)
            frame = int(np.abs(head.landmarks - marks.numpy()).sum((1, 2)).argmin())
            assert frame in (0, 3, 6, 9, 12)
            assert torch.equal((image * 255).round().byte(), head.pictures([frame])[0])
            names.add(name)
    assert len(names) == 2, "one of three people validates"
    assert {name.split("/")[1] for name in names} <= {"a", "b", "c"}
    (val,) = data.val_dataloader()
    assert val["name"][0] not in names


def test_people_to_evaluate(root):
    (batch,) = data_of(root, "test").test_dataloader()
    assert batch["task"] == "subject"
    assert batch["name"] == ["test/d/x"]
    shapes = {key: tuple(value.shape) for key, value in batch.items() if torch.is_tensor(value)}
    assert shapes == {
        "shots": (1, 4, 3, 32, 32),
        "shot_drawings": (1, 4, 3, 32, 32),
        "shot_landmarks": (1, 4, 68, 2),
        "image": (1, 3, 3, 32, 32),
        "drawing": (1, 3, 3, 32, 32),
        "landmarks": (1, 3, 68, 2),
        "found": (1, 3),
    }
    assert batch["shots"].dtype == batch["image"].dtype == torch.uint8


def test_a_list_says_which_frames_are_tested(root, tmp_path, caplog):
    lines = [f"d/x source {frame}" for frame in (5, 0, 1)] + [f"d/x target {frame}" for frame in (9, 7)]
    lines += ["e/x source 1", "e/x target 2"]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    data = data_of(root, "test", test_list=str(path))
    (batch,) = data.test_dataloader()
    head = data.heads("test")[0]
    assert torch.equal(batch["shots"][0], head.pictures([0, 5]))
    assert torch.equal(batch["image"][0], head.pictures([7, 9]))
    assert "left out 1 of 3 sources" in caplog.text
    assert "left out 1 of 2 subjects" in caplog.text


def test_listed_targets_without_a_face_stay_and_say_so(root, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("d/x source 0\nd/x target 1\nd/x target 2")
    (batch,) = data_of(root, "test", test_list=str(path)).test_dataloader()
    assert batch["found"].tolist() == [[False, True]]
    assert not batch["drawing"][0, 0].any()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("d/x source 0\nd/x target 14", "frame 14 of d/x, which has 14, from 0 to 13"),
        ("d/x source 1\nd/x target 2", "None of the 1 sources .* shows a face"),
    ],
)
def test_lists_of_frames_that_cannot_be_used_are_refused(root, tmp_path, lines, said):
    path = tmp_path / "list.txt"
    path.write_text(lines)
    with pytest.raises(UserError, match=said):
        data_of(root, "test", test_list=str(path))


def test_label_maps_of_a_parser(root, tmp_path, caplog):
    labels = tmp_path / "labels"
    for person, name in enumerate("abc"):
        head = make_head_clip(tmp_path / "clips" / name / "x.safetensors", person, FRAMES)
        write_label_maps(labels / name / "x", head, (0, 3, 6, 9, 12) if name != "a" else (0, 3, 6))
    data = data_of(tmp_path / "clips", labels=str(labels), val_share=0.0, image_size=SIDE)
    assert "left out 1 of 3 clips: too few label maps, the first: a/x: 3 of its 5 frames" in caplog.text
    for batch in data.train_dataloader():
        assert batch["labels"].shape == (2, SIDE, SIDE)
        assert set(batch["name"]) == {"b/x", "c/x"}
    with pytest.raises(DatasetNotFoundError, match=r"(?s)a map of any of 3 clips.*<frame>\.png"):
        data_of(tmp_path / "clips", labels=str(tmp_path / "clips"), val_share=0.0)


def test_frames_and_clips_that_cannot_be_used_are_counted(root, tmp_path, caplog):
    make_head_clip(tmp_path / "a/x.safetensors", 0, FRAMES, without=(0, 13))  # twelve are left, four of them strided
    for name in "bcd":
        make_head_clip(tmp_path / name / "x.safetensors", 1, FRAMES + 1, without=(2,))
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    data = data_of(tmp_path, val_share=0.0)
    assert "left out 1 of 5 clips: unreadable" in caplog.text
    assert "left out 1 of 4 clips: too few frames, the first: a/x: 12 frames with a face give 4" in caplog.text
    assert "left out 3 of 45 frames: they show no face, or their landmarks lie outside" in caplog.text
    assert len(data.train_set) == 3
    for sample in (data.train_set[number] for number in range(3)):
        assert sample["drawing"].any()
        assert all(drawing.any() for drawing in sample["shot_drawings"])


def test_nothing_left_is_an_error(root):
    with pytest.raises(UserError, match=r"No clip of the train part .* 14 frames with a face give 7"):
        data_of(root, frames=10, val_share=0.0)
    with pytest.raises(UserError, match=r"No clip of the test part .*fewer than 32 sources"):
        data_of(root, "test", sources=32)
    with pytest.raises(UserError, match="frames is 3 and shots is 3"):
        HeadClips(str(root), **SMALL | {"frames": 3})


def test_landmarks_of_another_picture_leave_nothing(tmp_path):
    head = make_head_clip(tmp_path / "x.safetensors", 0, FRAMES)
    make_head_clip(tmp_path / "x.safetensors", 0, FRAMES, landmarks=head.landmarks * 6)
    with pytest.raises(UserError, match="0 frames with a face give 0"):
        data_of(tmp_path, batch_size=1)


def test_a_resume_goes_on_with_the_same_shots(root):
    def seen(loader):
        return [(batch["name"], batch["landmarks"].sum().item()) for batch in loader]

    data = data_of(root, rounds=4)
    whole = seen(data.train_dataloader())
    loader = data.train_dataloader()
    batches = iter(loader)
    next(batches)
    resumed = data.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    assert seen(resumed) == whole[1:]


def test_there_is_nobody_to_reenact_without_names(root):
    with pytest.raises(UserError, match="There is nobody to reenact"):
        data_of(root, "predict")


def test_options_of_faces_may_come_as_a_dictionary(root):
    assert data_of(root, faces={"choose": "nearest"}).faces.choose == "nearest"
