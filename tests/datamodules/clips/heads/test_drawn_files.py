import numpy as np
from PIL import Image

from datamodules.clips.heads.drawn_files import SIDE, write_drawn
from datamodules.procedural.faces.heads import render_head
from visionscapes.media.video import probe


def test_pictures_of_a_person_and_a_video_of_the_next(tmp_path):
    source, driver = write_drawn(tmp_path, 4, 7, frames=[0, 10], most_turned=20.0)
    assert [path.name for path in sorted(source.iterdir())] == ["00.png", "10.png"]
    drawn = render_head(4, 7, [0, 10], SIDE, 20.0).images
    assert np.array_equal(np.asarray(Image.open(source / "10.png")), drawn[1])
    assert driver.name == "person-8.mp4"
    assert probe(driver).frames == 50
