import hashlib
import json
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

import callbacks.detection.generated_picture_writer as writing
from callbacks.detection.generated_picture_writer import GeneratedPictureWriter, xywh
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.layouts import Layouts
from datamodules.detection.scenes import DetectionScenes
from datamodules.procedural.scenes.repainting import Faults, SceneInpainter
from lightning_modules.gen2det.generating import LayoutInpainting
from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.replicas_detection import make_coco_detection, make_lvis
from visionscapes.errors import UserError
from visionscapes.folder_lock import LOCK, FolderLock

FAULTS = Faults(wrong_class=0.3, missing=0.3, extra=1.0, low_quality=0.5)


class FirstOnly(GroundedInpainter):
    """Paints the first box of a layout alone, in one colour, as GLIGEN paints the largest thirty."""

    title = "the first box"

    def inpaint(self, layout, seed):
        image, drawn = layout.image.clone(), torch.zeros(len(layout.boxes), dtype=torch.bool)
        if len(layout.boxes):
            x1, y1, x2, y2 = layout.boxes[0].int().tolist()
            image[:, y1:y2, x1:x2] = seed % 251
            drawn[0] = True
        return Inpainted(image, drawn, "a prompt")

    def ignores_boxes(self, layout, seed):
        return False


def scenes():
    return DetectionScenes(scenes=3, test_scenes=1, image_size=48, batch_size=1)


def generate(folder, inpainter=None, run="run", devices=1, **options):
    data = Layouts(**{"real": scenes(), "output": str(folder)} | options)
    trainer = quiet_trainer(
        folder.parent / run, [GeneratedPictureWriter()], devices=devices, use_distributed_sampler=False
    )
    trainer.predict(LayoutInpainting(inpainter or SceneInpainter(FAULTS)), datamodule=data)
    return data


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_pictures_manifest_and_annotations(tmp_path, capsys):
    generate(tmp_path / "out", copies=2)
    entries = manifest(tmp_path / "out")
    assert [each["name"] for each in entries] == ["0-0", "1-0", "2-0", "0-1", "1-1", "2-1"]
    assert sorted(files_in(tmp_path / "out")) == sorted(
        ["annotations.json", "generation.json", "manifest.jsonl", *(f"images/{each['name']}.png" for each in entries)]
    )
    for each in entries:
        assert (
            hashlib.sha256((tmp_path / "out" / "images" / f"{each['name']}.png").read_bytes()).hexdigest()
            == each["sha256"]
        )
        assert len(each["repainted"]) == len(each["truth"]["verdicts"]) == len(each["source"]["objects"])
    printed = capsys.readouterr().out
    objects = sum(len(each["source"]["objects"]) for each in entries)
    assert "6 pictures in " in printed
    assert "6 of them made now, " in printed
    assert " a second" in printed
    assert f"{objects} objects, {objects} of them drawn anew" in printed
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert len(coco.anns) == objects
    assert [image["file_name"] for image in coco.imgs.values()] == [f"{each['name']}.png" for each in entries]
    truth = [one["id"] for each in entries for one in each["source"]["objects"]]
    assert [each["source_id"] for each in coco.anns.values()] == truth


def test_a_line_of_the_manifest_is_enough_to_make_its_picture_again(tmp_path):
    """With nothing but the source's picture: this is what its reader has to be able to do."""
    generate(tmp_path / "out", copies=4)
    data = scenes()
    data.setup("fit")
    images = {each.image_id: each for each in data.training_images()}
    entries = manifest(tmp_path / "out")[::-1][:10]
    assert len(entries) == 10
    for each in entries:
        source, options = each["source"], each["inpainter"]["options"]
        assert each["inpainter"]["class"] == "datamodules.procedural.scenes.repainting.SceneInpainter"
        boxes = torch.tensor([one["box"] for one in source["objects"]], dtype=torch.float32)
        image = torch.from_numpy(images[source["image_id"]].read()).permute(2, 0, 1)
        layout = PictureLayout(image, boxes, tuple(one["name"] for one in source["objects"]))
        made = SceneInpainter(Faults(**options["faults"])).inpaint(layout, each["seed"])
        picture = np.array(Image.open(tmp_path / "out" / "images" / f"{each['name']}.png"))
        assert np.array_equal(made.image.permute(1, 2, 0).numpy(), picture)


def test_pictures_are_made_again_alone_and_compared(tmp_path, capsys):
    generate(tmp_path / "out", copies=4)
    before = files_in(tmp_path / "out")
    names = [each["name"] for each in manifest(tmp_path / "out")][1:11]
    capsys.readouterr()
    data = generate(tmp_path / "out", copies=4, run="again", only=names)
    assert "10 of 10 pictures are the same bytes as in" in capsys.readouterr().out
    again = files_in(data.folder.path)
    assert all(again[f"images/{name}.png"] == before[f"images/{name}.png"] for name in names)
    assert sum(name.endswith(".png") for name in again) == 10
    assert files_in(tmp_path / "out") == before
    generate(tmp_path / "out", SceneInpainter(), copies=4, run="other", only=names)
    assert "0 of 10 pictures are the same bytes" in capsys.readouterr().out


def test_objects_that_were_not_drawn_keep_their_annotations(tmp_path):
    coco = make_coco_detection(tmp_path)
    path = coco / "annotations" / "instances_train2017.json"
    given = {"real": None, "annotations": str(path), "images": str(coco / "train2017")}
    generate(tmp_path / "out", FirstOnly(), **given)
    entries = {each["name"]: each for each in manifest(tmp_path / "out")}
    assert entries["000000000009-0"]["repainted"] == [True, False]
    assert entries["000000000009-0"]["truth"] is None
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    found = {each["source_id"]: each for each in content["annotations"]}
    assert {number: each["repainted"] for number, each in found.items()} == {
        12: True, 698: False, 699: False, 697: True, 700: True,
    }  # fmt: skip
    assert [number for number, each in found.items() if each["iscrowd"]] == [699]
    assert found[12]["bbox"] == [20.5, 10.25, 20.0, 20.0]
    source = np.array(Image.open(coco / "train2017" / "000000000009.jpg").convert("RGB"))
    made = np.array(Image.open(tmp_path / "out" / "images" / "000000000009-0.png"))
    assert np.array_equal(source[20:40, 50:64], made[20:40, 50:64])
    reread = read_annotations(tmp_path / "out" / "annotations.json")
    assert reread.classes == read_annotations(path).classes
    assert reread.ignored.sum() == 1


def test_lvis_keeps_its_fields(tmp_path):
    coco = make_lvis(tmp_path)
    path = next((coco / "annotations").glob("*train*.json"))
    generate(tmp_path / "out", FirstOnly(), real=None, annotations=str(path), images=str(coco))
    made, source = read_annotations(tmp_path / "out" / "annotations.json"), read_annotations(path)
    assert made.frequencies == source.frequencies
    kept = [list(source.image_ids).index(number) for number in (9, 25, 34)]
    assert made.not_exhaustive == tuple(source.not_exhaustive[place] for place in kept)
    assert made.negative == tuple(source.negative[place] for place in kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, r"another seed \(0, not 1\)"),
        ({"real": DetectionScenes(scenes=4, test_scenes=1, image_size=48, batch_size=1)}, "another layout"),
        ({"inpainter": SceneInpainter()}, "another inpainter"),
    ],
)
def test_other_pictures_are_not_mixed_in(tmp_path, options, message):
    generate(tmp_path / "out")
    before = files_in(tmp_path / "out")
    with pytest.raises(UserError, match=message) as caught:
        generate(tmp_path / "out", **options)
    assert "--data.output" in str(caught.value)
    assert files_in(tmp_path / "out") == before


def test_more_copies_are_added(tmp_path):
    generate(tmp_path / "whole", copies=2)
    generate(tmp_path / "grown", limit=1)
    generate(tmp_path / "grown")
    generate(tmp_path / "grown", copies=2)
    assert files_in(tmp_path / "grown") == files_in(tmp_path / "whole")


@pytest.mark.parametrize("name", ["annotations.json", "images", "manifest.jsonl"])
def test_a_folder_of_other_things_is_left_alone(tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"holds {name}, which was not generated here"):
        generate(tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


def killed(folder, moment):
    """Generate in a fork that kills itself before the given moment; return its status and the number of moments."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code, count = 1, 0
        try:
            torch.set_num_threads(1)

            def counted(function):
                def call(*args, **kwargs):
                    nonlocal count
                    count += 1
                    if count == moment:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*args, **kwargs)

                return call

            os.replace, writing.append_line = counted(os.replace), counted(writing.append_line)
            real = SceneInpainter.inpaint

            def noted(self, layout, seed):
                with (folder.parent / "asked.txt").open("a") as file:
                    file.write(f"{seed}\n")
                return real(self, layout, seed)

            SceneInpainter.inpaint = noted
            generate(folder)
            os.write(writer, str(count).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(told or 0)


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, capfd):
    status, moments = killed(tmp_path / "whole" / "out", 0)
    assert status == 0
    assert moments == 3 + 3 + 3  # lines, pictures; settings, manifest, annotations
    whole = files_in(tmp_path / "whole" / "out")
    assert len(whole) == 6
    for moment in range(1, moments + 1):
        folder = tmp_path / str(moment) / "out"
        assert killed(folder, moment)[0] == -signal.SIGKILL
        there = {path.stem for path in (folder / "images").glob("*.png")}
        asked = folder.parent / "asked.txt"
        asked.write_text("")
        assert killed(folder, 0)[0] == 0
        assert files_in(folder) == whole
        seeds = {each["name"]: str(each["seed"]) for each in manifest(folder)}
        again = set(asked.read_text().split()) & {seeds[name] for name in there}
        assert again == set(), "a picture that was there was made again"


def test_a_torn_line_and_a_damaged_setting(tmp_path):
    generate(tmp_path / "out")
    whole = files_in(tmp_path / "out")
    (tmp_path / "out" / "parts").mkdir()
    (tmp_path / "out" / "parts" / "process-0.jsonl").write_bytes(b'{"name": "0-')
    (tmp_path / "out" / "images" / "2-0.png").unlink()
    generate(tmp_path / "out")
    assert files_in(tmp_path / "out") == whole
    (tmp_path / "out" / "generation.json").write_text("{")
    with pytest.raises(UserError, match=r"generation\.json is damaged"):
        generate(tmp_path / "out")


def on_two(rank, folder):
    generate(folder, devices=2, copies=1)


def on_two_for_one(rank, folder):
    generate(folder, devices=2, limit=1)


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path):
    generate(tmp_path / "one")
    two_processes(on_two, tmp_path / "two")
    assert files_in(tmp_path / "two") == files_in(tmp_path / "one")
    two_processes(on_two_for_one, tmp_path / "few")  # one of them has nothing to do
    two_processes(on_two, tmp_path / "few")
    two_processes(on_two, tmp_path / "few")  # both have nothing to do
    assert files_in(tmp_path / "few") == files_in(tmp_path / "one")


def test_other_modules_and_data_are_told_apart(tmp_path):
    class Other(LayoutInpainting):
        def predict_step(self, batch, batch_idx):
            return 1

    data = Layouts(real=scenes(), output=str(tmp_path / "out"))
    trainer = quiet_trainer(tmp_path, [GeneratedPictureWriter()])
    with pytest.raises(UserError, match="needs generated pictures, which Other does not predict"):
        trainer.predict(Other(SceneInpainter()), datamodule=data)
    trainer = quiet_trainer(tmp_path, [GeneratedPictureWriter()])
    with pytest.raises(UserError, match="--data=Layouts"):
        trainer.predict(LayoutInpainting(SceneInpainter()), dataloaders=[1])


def test_boxes_are_written_with_the_digits_that_they_have():
    assert xywh([0.1, 0.2, 10.1, 20.5]) == [0.1, 0.2, 10.0, 20.3]


def test_what_ended_before_its_first_picture_does_not_keep_a_folder(tmp_path):
    class Failing(FirstOnly):
        def inpaint(self, layout, seed):
            raise RuntimeError("no memory left")

    with pytest.raises(RuntimeError, match="no memory left"):
        generate(tmp_path / "out", Failing())
    stale = tmp_path / "out" / "parts" / "process-7.jsonl"
    stale.parent.mkdir(exist_ok=True)
    stale.write_text(json.dumps({"name": "0-0", "seed": 7}) + "\n")
    assert (tmp_path / "out" / "generation.json").is_file()
    generate(tmp_path / "out", seed=1)
    generate(tmp_path / "other", seed=1)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "other")


def test_a_place_that_cannot_be_a_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"out cannot be written to .*: name another folder as --data\.output"):
        generate(tmp_path / "out")
    with pytest.raises(UserError, match=r"cannot be written to"):
        generate(tmp_path / "out" / "below")


def test_pictures_that_are_made_again_without_the_first_ones(tmp_path, capsys):
    generate(tmp_path / "nowhere", only=["0-0"])
    assert "nowhere holds no generated pictures to compare them with" in capsys.readouterr().out


def test_one_command_at_a_time_in_a_folder(tmp_path):
    (tmp_path / "out" / "images").mkdir(parents=True)
    unfinished = tmp_path / "out" / "images" / ".0-0.png.partial"
    unfinished.write_bytes(b"of the other command, which is writing it")
    other = FolderLock(tmp_path / "out")
    with pytest.raises(UserError, match=r"out is in use by process \d+ .*: wait for its end, or name another folder"):
        generate(tmp_path / "out")
    assert unfinished.is_file()
    other.release()
    unfinished.unlink()
    (tmp_path / "out" / "images").rmdir()
    generate(tmp_path / "out")
    assert not (tmp_path / "out" / LOCK).exists()  # and free for the next
