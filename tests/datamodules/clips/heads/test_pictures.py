import numpy as np
from PIL import Image

from datamodules.clips.heads.pictures import main
from tests.helpers.dubbing import person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.replicas_heads import make_head_clip


def test_frames_that_train_are_written_once(tmp_path, capsys):
    drawn = make_head_clip(tmp_path / "clips/a/x.safetensors", 0, 14)
    make_head_clip(tmp_path / "clips/a/y.safetensors", 1, 5)
    words = [str(tmp_path / "clips"), "--out", str(tmp_path / "out"), "--frames", "5"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out.startswith("5 pictures of 1 clips written")
    assert "5 frames with a face give 3" in said.err
    written = sorted((tmp_path / "out").rglob("*.png"))
    names = [f"a/x/{frame:05d}.png" for frame in (0, 3, 6, 9, 12)]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == names
    image = np.asarray(Image.open(written[1])).astype(int)
    assert np.abs(image - drawn.images[3]).mean() < 6
    written[0].unlink()
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("1 pictures")


def test_all_frames_with_a_face(tmp_path, capsys):
    make_head_clip(tmp_path / "clips/x.safetensors", 0, 6, without=(2,))
    assert main([str(tmp_path / "clips"), "--out", str(tmp_path / "out"), "--all"]) == 0
    assert sorted(int(path.stem) for path in (tmp_path / "out/x").iterdir()) == [0, 1, 3, 4, 5]


@needs_face_files
def test_videos_as_they_are(tmp_path, capsys):
    video_of(tmp_path / "videos/a.mp4", person(1, 6), sound=None)
    assert main([str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--frames", "2"]) == 0
    assert "2 pictures of 1 clips written" in capsys.readouterr().out
    assert len(list((tmp_path / "out/a").iterdir())) == 2


def test_mistakes_end_with_status_2(tmp_path, capsys):
    make_head_clip(tmp_path / "clips/x.safetensors", 0, 3)
    assert main([str(tmp_path / "clips"), "--out", str(tmp_path / "out")]) == 2
    assert "No picture can be made of any of 1 clips: the lines above say why" in capsys.readouterr().err
    assert main([str(tmp_path), "--out", str(tmp_path)]) == 2
    assert main([str(tmp_path), "--out", str(tmp_path), "--frames", "1"]) == 2
    assert "frames is 1; it has to be at least 2" in capsys.readouterr().err
