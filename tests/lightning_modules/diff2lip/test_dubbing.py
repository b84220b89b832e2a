"""What modules that dub share, with Diff2Lip for an example."""

import pytest
import torch

from lightning_modules.diff2lip.baselines.wav2lip import Wav2Lip
from lightning_modules.diff2lip.dubbing import DubbingModule
from tests.lightning_modules.diff2lip.cases import (
    NO_EXPERTS,
    SIZE,
    SMALL,
    diff2lip,
    face_landmarks,
    frames_of,
    moved,
)
from visionscapes.errors import UserError


def dubber(**changes):
    return moved(diff2lip(**NO_EXPERTS | changes))


def test_the_data_have_the_size_of_the_model(tmp_path):
    class Data:
        face_size = 2 * SIZE
        drawn_faces = True

    module: DubbingModule = diff2lip(**NO_EXPERTS)
    module._trainer = type("Trainer", (), {"datamodule": Data()})()
    with pytest.raises(UserError, match=r"faces of 32 pixels.*built for 16"):
        module.setup("fit")
    Data.face_size = SIZE
    module.setup("fit")
    assert module.trained_on_drawn


@pytest.mark.parametrize("noise", ["shared", "mixed", "independent"])
def test_what_comes_out_does_not_depend_on_the_chunks(noise):
    faces, references, mel = frames_of(7)
    whole, parts = (dubber(sampling={"batch": batch, "noise": noise}).dub(faces, references, mel) for batch in (32, 3))
    torch.testing.assert_close(whole.faces, parts.faces, atol=1e-5, rtol=0)
    again = dubber(sampling={"noise": noise})
    tail = again.dub(faces[4:], references[4:], mel[4:], index=torch.arange(4, 7))
    torch.testing.assert_close(tail.faces, whole.faces[4:], atol=1e-5, rtol=0)


def test_outside_the_mask_faces_stay_bit_by_bit():
    faces, references, mel = frames_of(4)
    region = {"left": 0.25, "top": 0.25, "right": 0.75, "bottom": 1.0}  # 8 x 12 pixels of 16
    dubbed = dubber(region=region).dub(faces, references, mel)
    assert dubbed.patches.shape == (4, 3, 12, 8)
    assert dubbed.patches.abs().max() <= 1
    made = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    made[10:, 4:12] = True
    assert torch.equal(dubbed.faces[..., ~made], faces[..., ~made])
    assert (dubbed.faces[..., made] != faces[..., made]).float().mean() > 0.9
    torch.testing.assert_close(dubbed.region.of(dubbed.faces), (dubbed.patches + 1) / 2)


def test_dubbing_leaves_the_mode_of_training_as_it_was():
    module = dubber().train()
    module.dub(*frames_of(2))
    assert module.generator.training


def pair(setting, found=(True,) * 4):
    faces, _, mel = frames_of(len(found))
    return {
        "task": "dub",
        "setting": [setting],
        "name": ["a__b"],
        "faces": (255 * faces).byte()[None],
        "landmarks": face_landmarks().expand(1, len(found), 68, 2),
        "found": torch.tensor(found)[None],
        "frame_mel": mel[None],
    }


def test_reconstruction_has_the_first_frame_alone():
    batch = pair("reconstruction")
    module = dubber()
    made = module.test_step(batch, 0)
    faces = batch["faces"][0].float() / 255
    first = faces[:1].expand_as(faces)
    torch.testing.assert_close(made.faces, module.dub(first, first, batch["frame_mel"][0]).faces)
    assert torch.equal(made.faces[3, :, : SIZE // 2], faces[0, :, : SIZE // 2])
    batch["faces"][:, 1:] = 0  # nothing else is looked at
    assert torch.equal(module.test_step(batch, 0).faces, made.faces)


def test_crossed_pairs_have_each_frame_for_input_and_reference():
    batch, module = pair("cross", (True, False, True, True)), dubber()
    made = module.validation_step(batch, 0)
    faces = batch["faces"][0].float() / 255
    whole = module.dub(faces, faces, batch["frame_mel"][0])
    found = batch["found"][0]
    torch.testing.assert_close(made.faces[found], whole.faces[found])
    assert torch.equal(made.faces[1], faces[1])
    assert made.mask[1].sum() == 0
    assert made.mask[0].sum() > 0
    torch.testing.assert_close(made.patches[1], 2 * faces[1] - 1)
    assert module.validation_step({"task": "clip"}, 0) is None


def parts_of_a_video(found=((False, True, True), (True, True))):
    faces, _, mel = frames_of(5)
    start, parts = 0, []
    for each in found:
        where = slice(start, start + len(each))
        parts.append(
            {
                "task": "predict",
                "video": "a.mp4",
                "faces": (255 * faces[where]).byte(),
                "landmarks": face_landmarks().expand(len(each), 68, 2),
                "found": torch.tensor(each),
                "frame_mel": mel[where],
                "index": torch.arange(where.start, where.stop),
            }
        )
        start += len(each)
    return parts, faces, mel


def test_prediction_passes_frames_without_a_face_through():
    parts, *_ = parts_of_a_video()
    module = dubber()
    made = [module.predict_step(part, 0) for part in parts]
    assert torch.equal(made[0].faces[0], parts[0]["faces"][0].float() / 255)
    assert not torch.equal(made[0].faces[1], parts[0]["faces"][1].float() / 255)
    parts[0]["found"][:] = False
    assert torch.equal(module.predict_step(parts[0], 0).faces, parts[0]["faces"].float() / 255)


def test_the_first_face_of_a_video_can_be_the_reference_of_all_its_parts():
    parts, *_ = parts_of_a_video()
    module = dubber(reference="first")
    made = [module.predict_step(part, 0).faces for part in parts]
    first = parts[0]["faces"][1:2].float() / 255
    later = parts[1]["faces"].float() / 255
    wanted = module.dub(later, first.expand_as(later), parts[1]["frame_mel"], index=parts[1]["index"])
    torch.testing.assert_close(made[1], wanted.faces)
    other = {**parts[1], "video": "b.mp4"}
    own = module.dub(later, later[:1].expand_as(later), other["frame_mel"], index=other["index"])
    torch.testing.assert_close(module.predict_step(other, 0).faces, own.faces)


def test_an_untrained_network_does_not_predict():
    module = diff2lip(**NO_EXPERTS)
    module._trainer = type("Trainer", (), {"ckpt_path": None, "global_step": 0})()
    with pytest.raises(UserError, match="untrained"):
        module.on_predict_start()


def test_networks_of_the_same_shape_but_another_purpose_do_not_dub():
    """Wav2Lip's are those of Diff2Lip; one that predicts noise is none that predicts faces."""
    checkpoint = {}
    diff2lip(**NO_EXPERTS).on_save_checkpoint(checkpoint)
    same = {name: SMALL[name] for name in ("face_size", "unet", "audio", "experts", "discriminator")}
    for other in (Wav2Lip(**same), diff2lip(**NO_EXPERTS, diffusion={"prediction": "sample"})):
        with pytest.raises(UserError, match=r"trained as Diff2Lip whose .*prediction is eps, and the model is "):
            other.on_load_checkpoint(dict(checkpoint))


def test_a_checkpoint_knows_its_crop_and_whether_faces_were_drawn(tmp_path):
    module, checkpoint = diff2lip(**NO_EXPERTS), {}
    module.trained_on_drawn = True
    module.on_save_checkpoint(checkpoint)
    read = diff2lip(**NO_EXPERTS)
    assert read.trained_on_drawn is None
    read.on_load_checkpoint(checkpoint)
    assert read.trained_on_drawn
    other = diff2lip(**NO_EXPERTS, region={"top": 0.5})
    with pytest.raises(UserError, match=r"region \(0, 0, 16, 16\).*\(0, 8, 16, 16\)"):
        other.on_load_checkpoint(checkpoint)
