from copy import deepcopy

import pytest
import torch

from lightning_modules.lsr.fine_tuning import (
    FineTuningOptions,
    Tuned,
    distance_to,
    fine_tune,
    kept_back,
    tuned_only,
    with_identity,
)
from lightning_modules.lsr.loss_options import HeadLossOptions
from tests.lightning_modules.lsr.cases import SIZE, lsr, shots_of, subject_of
from visionscapes.errors import UserError

SPATIAL = ("layout", "segmentation", "landmarks", "none")


def tuned(module, shots, **options):
    module.call_experts()
    return fine_tune(
        module.generator,
        module.discriminator,
        shots,
        objective=module.objective(),
        adversarial=module.adversarial,
        options=FineTuningOptions(**options),
    )


@pytest.mark.parametrize(
    ("shots", "steps"), [(1, 24), (3, 24), (4, 60), (7, 60), (8, 100), (15, 100), (16, 200), (31, 200), (32, 400)]
)
def test_steps_by_the_number_of_shots(shots, steps):
    assert FineTuningOptions().steps_of(shots) == steps
    assert FineTuningOptions(steps=0).steps_of(shots) == 0


def test_the_rate_falls_as_a_hyperbola_over_the_second_half():
    share = FineTuningOptions().schedule(400)
    assert [share(step) for step in range(203)] == [1.0] * 203
    assert share(204) == pytest.approx(1 / 2)
    assert share(300) == pytest.approx(1 / 50)
    assert share(399) == pytest.approx(1 / 99.5)
    assert FineTuningOptions().schedule(0)(0) == 1


def test_every_shot_has_its_turn():
    shots = shots_of(3)
    for cycle in range(3):
        found = [shots.one(3 * cycle + place).images for place in range(3)]
        assert sorted(float(each.mean()) for each in found) == sorted(float(each.mean()) for each in shots.images)
    assert all(torch.equal(one.drawings, again.drawings) for one, again in [(shots.one(5), shots.one(5))])
    orders = {tuple(float(shots.one(3 * cycle + place).images.mean()) for place in range(3)) for cycle in range(6)}
    assert len(orders) > 1


def test_one_of_several_shots_is_kept_back_and_a_single_one_mirrored():
    shots = shots_of(4)
    seen, held = kept_back(shots)
    assert torch.equal(torch.cat([seen.images, held.images]), shots.images)
    assert torch.equal(held.drawings, shots.drawings[3:])
    single = shots_of(1)
    seen, held = kept_back(single)
    assert seen is single
    assert torch.equal(held.images[..., 0], single.images[..., -1])
    assert torch.equal(held.drawings.flip(-1), single.drawings)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_generators_and_discriminator_learn_and_nothing_else(spatial):
    """The given networks stay as they are; of the copy the encoders do."""
    module = lsr(spatial=spatial)
    before = deepcopy(module.state_dict())
    found = tuned(module, shots_of(1), steps=3, lr=1e-4, check_every=1)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    after = found.network.state_dict()
    seen = {name for name, value in after.items() if not torch.equal(value, before[f"generator.{name}"])}
    assert found.step > 0
    expected = ("layout.predictor.", "image.") if spatial == "layout" else ("image.",)
    assert seen == {name for name in after if name.startswith(expected)}


@pytest.mark.parametrize("spatial", SPATIAL)
def test_a_moving_average_is_fine_tuned_as_the_network_that_it_is_of(spatial):
    """It is what reenacts, and has no gradients where it is kept."""
    ours = lsr(spatial=spatial, optimizer={"ema": 0.5}, finetune={"steps": 2, "lr": 1e-4, "check_every": 1})
    theirs = lsr(spatial=spatial, finetune={"steps": 2, "lr": 1e-4, "check_every": 1})
    theirs.generator.load_state_dict(ours.shown.state_dict())
    found, expected = (module.meet_tuned(*shots_of(2)).network.state_dict() for module in (ours, theirs))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert any(
        not torch.equal(found[name], value) for name, value in ours.shown.image.state_dict(prefix="image.").items()
    )
    assert not any(each.requires_grad for each in ours.shown.parameters())


def test_the_best_is_kept_and_the_last_is_not():
    """With a rate that throws the network about, what is kept is what was best by the shot that was kept back."""
    module = lsr()
    shots = shots_of(3)
    found = tuned(module, shots, steps=12, lr=0.05, check_every=1)
    assert found.distances.keys() == set(range(13))
    assert found.distances[found.step] == min(found.distances.values())
    _, held = kept_back(shots)
    latents = module.generator.encode(shots.images[None], shots.drawings[None])
    assert float(distance_to(held, found.network, latents, module.objective())) == pytest.approx(
        found.distances[found.step], rel=1e-5
    )
    assert min(found.distances.values()) < max(found.distances.values())


def test_what_it_has_led_to_is_said():
    network = lsr().generator
    said = [str(Tuned(network, best, {0: 0.3, 4: 0.1, 8: 0.4})) for best in (4, 0)]
    assert said[0] == "8 steps, that after step 4 is kept: L_rec of what was kept back 0.3 before, 0.1 now"
    assert said[1].startswith("8 steps, none was better, so nothing has changed: ")
    assert str(Tuned(network, 0, {0: 0.3})) == "no step: the network is as it was"


def test_a_network_that_gets_worse_stays_as_it_was():
    module = lsr()
    shots = shots_of(2)
    found = tuned(module, shots, steps=3, lr=100.0, check_every=1)
    assert found.step == 0
    ours, theirs = found.network.state_dict(), module.generator.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_no_steps():
    module = lsr()
    found = tuned(module, shots_of(2), steps=0)
    assert found.step == 0
    theirs = module.generator.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in found.network.state_dict().items())


def test_the_shots_are_reconstructed_better():
    module = lsr(losses={"lambda_gan": 0.0})
    shots = shots_of(1)
    found = tuned(module, shots, steps=30, lr=0.01)
    assert found.step > 0
    latents = module.generator.encode(shots.images[None], shots.drawings[None])
    objective = module.objective()
    before, after = (float(distance_to(shots, each, latents, objective)) for each in (module.generator, found.network))
    assert after < 0.8 * before


def test_label_maps_are_none_of_photographs():
    module = lsr(spatial="oracle")
    with pytest.raises(UserError, match=r"--model\.spatial=oracle is given label maps"):
        tuned_only(module.generator)


def test_the_weight_of_identities():
    losses = HeadLossOptions(lambda_id=1.0)
    assert with_identity(losses, FineTuningOptions()) is losses
    assert with_identity(losses, FineTuningOptions(lambda_id=20.0)).lambda_id == 20


def test_people_are_fine_tuned_on_where_prediction_or_evaluation_asks_for_it():
    """In inference mode, as the Trainer predicts and tests."""
    module = lsr(finetune={"steps": 2, "lr": 1e-4, "check_every": 1}, evaluation={"shots": (1, 2), "finetune": True})
    with torch.inference_mode():
        found = module.test_step(subject_of(), 0)
        random = torch.Generator().manual_seed(0)
        pictures = torch.randint(0, 256, (3, 2, 3, SIZE, SIZE), generator=random, dtype=torch.uint8)
        batch = dict(zip(("shots", "shot_drawings", "drawing"), pictures, strict=True))
        made = [module.predict_step(batch | {"source": "a", "finetune": asked}, 0) for asked in (True, False)]
        again = module.predict_step(batch | {"source": "b", "finetune": False}, 0)
    names = ["K = 1", "K = 1, fine-tuned", "K = 2", "K = 2, fine-tuned"]
    assert list(found) == names
    assert [found[name].fine_tuned for name in names] == [False, True] * 2
    for plain, better in (names[:2], names[2:]):
        assert not torch.equal(found[plain].images, found[better].images)
    assert made[0].fine_tuned
    assert torch.equal(made[0].images, made[1].images), "a source is met once"
    assert not torch.equal(made[0].images, again.images)


def test_fine_tuning_does_not_depend_on_what_was_drawn_before():
    module, shots = lsr(), shots_of(3)
    ours = tuned(module, shots, steps=4, lr=1e-4, check_every=1)
    torch.rand(7)
    theirs = tuned(module, shots, steps=4, lr=1e-4, check_every=1)
    assert ours.distances == theirs.distances
