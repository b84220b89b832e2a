import pytest
import torch
from torch.nn import functional as F

from callbacks.run.finite_loss import FiniteLoss, NonFiniteLossError
from lightning_modules import adversarial
from lightning_modules.adversarial import (
    AdversarialModule,
    discriminator_losses,
    final_decay,
    frozen,
    hyperbolic_decay,
    logits,
)
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from networks.gan.conditions import one_hot
from tests.lightning_modules.grit.cases import CLASSES, SIZE, batch_of, fit, grit, loader_of, weights_of

PLAIN = {"noise": False, "discriminator": "residual", "stddev_group": None}  # a sample does not depend on the others


def by_hand(module, batches):
    """Train as the equations say, the plain way: two passes of the generator a batch, everything in float32."""
    generator, discriminator = module.generator, module.discriminator
    hparams = module.hparams
    optimizer, game = hparams["optimizer"], hparams["adversarial"]
    make = {"lr": optimizer["lr"], "betas": (optimizer["beta1"], optimizer["beta2"])}
    of_g = torch.optim.Adam(generator.parameters(), **make)
    of_d = torch.optim.Adam(discriminator.parameters(), **make)
    for number, batch in enumerate(batches):
        condition, truth = one_hot(batch["labels"], CLASSES), 2 * batch["image"] - 1
        with torch.no_grad():
            fake = generator(condition, generator.style_encoder(truth)).image
        real = truth.clone().requires_grad_()
        of_real = discriminator(torch.cat([condition, real], 1))
        loss = F.softplus(-of_real).mean() + F.softplus(discriminator(torch.cat([condition, fake], 1))).mean()
        if number % game["penalty_every"] == 0:
            slope = torch.autograd.grad(of_real.sum(), real, create_graph=True)[0]
            penalty = slope.square().sum((1, 2, 3)).mean()
            loss = loss + game["penalty_every"] * game["r1"] / 2 * penalty
        of_d.zero_grad()
        loss.backward()
        code = generator.style_encoder(truth)
        image, parts = generator(condition, code)
        loss = F.softplus(-discriminator(torch.cat([condition, image], 1))).mean()
        loss = loss + 30 * (parts["reconstruction"] - truth).abs().mean() + (code**2).mean()  # Eq. 5.2
        gradients = torch.autograd.grad(loss, list(generator.parameters()))
        for parameter, gradient in zip(generator.parameters(), gradients, strict=True):
            parameter.grad = gradient
        of_g.step()
        of_d.step()


@pytest.mark.parametrize("penalty_every", [1, 2])
def test_training_equals_the_plain_way(penalty_every):
    ours, theirs = (grit(decay_epochs=0, penalty_every=penalty_every, **PLAIN) for _ in range(2))
    fit(ours, loader_of(16))
    by_hand(theirs, list(loader_of(16)))
    expected = weights_of(theirs)
    begun = weights_of(grit(**PLAIN))
    for name, value in weights_of(ours).items():
        assert torch.allclose(value, expected[name], atol=2e-4), name  # Adam divides by tiny gradients
    moved = [float((expected[name] - begun[name]).abs().max()) for name in expected if not name.endswith("num_batches")]
    assert max(moved) > 3e-3


def test_the_accuracy_is_the_share_of_pictures_that_are_told_right():
    module, logged = grit(r1=0.0, **PLAIN), {}
    real, fake = torch.tensor([2.0, 0.5, -1.0, -3.0]), torch.tensor([-1.0, 0.5, -2.0, -0.1])
    answers = iter([real[:, None], fake[:, None]])
    module._batches = lambda: 1
    module.log = lambda name, value, **options: logged.update({name: float(value)})
    losses = module.discriminator_terms(lambda images: next(answers), *torch.zeros(2, 4, 3, SIZE, SIZE))
    assert logged == {"train/discriminator_accuracy": (2 / 4 + 3 / 4) / 2}
    assert losses.keys() == {"discriminator"}
    assert losses["discriminator"] == pytest.approx(float(F.softplus(-real).mean() + F.softplus(fake).mean()))


def test_lazy_penalties_come_when_they_are_due_and_weigh_more():
    losses = {}
    for every in (1, 3):
        module = grit(penalty_every=every, lr=1e-12, decay_epochs=0, **PLAIN)
        seen = losses[every] = []
        original = module.discriminator_losses

        def watched(*arguments, original=original, seen=seen):
            seen.append({name: float(value) for name, value in original(*arguments).items()})
            return original(*arguments)

        module.discriminator_losses = watched
        fit(module, loader_of(12, 2), max_epochs=2)
    assert [("r1" in each) for each in losses[3]] == [number % 3 == 0 for number in range(12)]
    assert losses[3][3]["r1"] == pytest.approx(3 * losses[1][3]["r1"], rel=1e-4)
    assert losses[1][0]["r1"] > 0


def test_penalties_of_generated_images():
    module = grit(r1=0.0, r2=10.0, **PLAIN)
    fit(module, loader_of(4))
    assert float(module.trainer.callback_metrics["train/r2"]) > 0
    assert "train/r1" not in module.trainer.callback_metrics


def test_the_penalty_is_of_the_image_alone_and_in_float32(monkeypatch):
    seen = []
    true = adversarial.gradient_penalty
    monkeypatch.setattr(
        adversarial, "gradient_penalty", lambda scores, images: seen.append((scores, images)) or true(scores, images)
    )
    fit(grit(**PLAIN), loader_of(4), precision="bf16-mixed")
    scores, images = seen[0]
    assert images.shape == (4, 3, SIZE, SIZE)
    assert scores.dtype == images.dtype == torch.float32


def test_bfloat16_trains_much_like_float32():
    modules = [grit(decay_epochs=0, **PLAIN) for _ in range(2)]
    for module, precision in zip(modules, ("32-true", "bf16-mixed"), strict=True):
        fit(module, loader_of(16), precision=precision)
    exact, rough = (module.trainer.callback_metrics["train/reconstruction"] for module in modules)
    assert float(rough) == pytest.approx(float(exact), rel=0.05)


def test_neither_network_learns_from_the_other_ones_loss():
    module = grit()
    with frozen(module.discriminator):
        assert not any(each.requires_grad for each in module.discriminator.parameters())
    assert all(each.requires_grad for each in module.discriminator.parameters())
    batch = batch_of()
    condition, truth = module.condition(batch), module.to_network(batch["image"])
    translated = module.translate(batch, condition, truth)
    with frozen(module.discriminator):
        sum(module.generator_losses(condition, truth, translated).values()).backward()
    assert all(each.grad is None for each in module.discriminator.parameters())
    assert any(each.grad is not None for each in module.generator.parameters())


def gradients_of(module, loader, step=0):
    """Return the gradients of one step of either network."""
    found = []

    def watch(optimizer):
        found.append([each.grad.clone() for group in optimizer.param_groups for each in group["params"]])

    true = module.on_before_optimizer_step
    module.on_before_optimizer_step = lambda optimizer: (true(optimizer), watch(optimizer))
    fit(module, loader)
    pairs = [found[at : at + 2] for at in range(0, len(found), 2)]
    return [gradient for gradients in pairs[step] for gradient in gradients]


def test_accumulated_batches_are_one_large_batch():
    large, small = (grit(accumulate=count, decay_epochs=0, **PLAIN) for count in (1, 2))
    expected, found = gradients_of(large, loader_of(8, 4)), gradients_of(small, loader_of(8, 2))
    assert large.trainer.global_step == small.trainer.global_step == 4  # two optimisers, two steps
    assert max(float(each.abs().max()) for each in expected) > 0.01
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_last_batches_of_an_epoch_are_stepped_too():
    module = grit(accumulate=4, **PLAIN)
    fit(module, loader_of(6, 1))
    assert module.trainer.global_step == 2 * 2


@pytest.mark.parametrize(("count", "accumulate"), [(6, 4), (3, 8), (5, 2)])
def test_a_short_last_group_is_divided_by_its_own_length(count, accumulate):
    """The gradient is the mean of those of the group's batches, each taken alone."""
    rest = count % accumulate
    module = grit(accumulate=accumulate, lr=1e-12, decay_epochs=0, **PLAIN)
    whole = gradients_of(module, loader_of(count, 1), step=-1)
    alone = [
        gradients_of(grit(lr=1e-12, decay_epochs=0, **PLAIN), loader_of(count, 1), step=place)
        for place in range(count - rest, count)
    ]
    assert len(alone) == rest
    assert max(float(each.abs().max()) for each in whole) > 0.01
    for ours, theirs in zip(whole, zip(*alone, strict=True), strict=True):
        assert torch.allclose(ours, torch.stack(theirs).mean(0), atol=1e-5)


def test_final_decay():
    """5.5.1.2: by a factor of 10, linearly, during the last epoch."""
    shares = [final_decay(batch, 100, 10, 0.1) for batch in range(101)]
    assert shares[:91] == [1.0] * 91
    assert shares[95] == pytest.approx(0.55)
    assert shares[100] == pytest.approx(0.1)
    assert final_decay(10**9, float("inf"), 10, 0.1) == 1
    assert final_decay(3, 10, 0, 0.1) == 1


def test_hyperbolic_decay():
    """LSR's code: the rate divided by max(1, 100 alpha), with alpha the part of the decay that is over."""
    shares = [hyperbolic_decay(batch, 1000, 500, 0.01) for batch in range(1001)]
    assert shares == pytest.approx([1 / max(1.0, 100 * max(0, batch - 500) / 500) for batch in range(1001)])
    assert hyperbolic_decay(10**9, float("inf"), 10, 0.1) == 1
    assert hyperbolic_decay(3, 10, 0, 0.1) == 1
    assert hyperbolic_decay(10, 10, 5, 0.0) == 0


def test_the_decay_is_an_option():
    module = grit(optimizer={"decay": "hyperbolic", "decay_floor": 0.5})
    fit(module, loader_of(8, 2), max_epochs=2)  # four batches an epoch, of which the second decays
    rates = [group["lr"] for optimizer in module.trainer.optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([0.5e-3, 0.5e-3])
    shares = [module.schedule()(step) for step in range(4, 9)]
    assert shares == pytest.approx([1, 1, 1, 0.5 / 0.75, 0.5])


@pytest.mark.parametrize("gan_loss", ["logistic", "least_squares"])
def test_the_penalty_of_the_loss_by_hand(gan_loss):
    """Of each image's own part in what the discriminator minimises, R1 for real images and R2 for generated ones."""
    options = AdversarialOptions(gan_loss=gan_loss, r1=3.0, r2=5.0, penalty_of="loss", penalty_every=2)
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))

    def scores(images):
        return (weight * images.square()).sum((1, 2, 3))

    real, fake = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    losses, _ = discriminator_losses(options, scores, real, fake=fake)
    for name, images, sign in (("r1", real, -1), ("r2", fake, 1)):
        logit, slope = scores(images), 2 * weight * images
        # softplus(sign d)' = sign sigmoid(sign d), and ((d - 1)^2 / 2)' for real and (d^2 / 2)' for generated images.
        factor = torch.sigmoid(sign * logit) if gan_loss == "logistic" else logit - float(name == "r1")
        expected = (factor**2 * slope.square().sum((1, 2, 3))).mean()
        gamma = 3.0 if name == "r1" else 5.0
        assert float(losses[name]) == pytest.approx(2 * gamma / 2 * float(expected), rel=1e-5)
    assert discriminator_losses(options, scores, real, fake=fake, penalised=False)[0].keys() == {"discriminator"}


def test_an_average_begins_with_weights_that_were_loaded():
    module = grit(ema=0.9)
    for parameter in module.generator.parameters():
        parameter.data.add_(1.0)
    module.begin_average()
    ours, theirs = module.average.module.state_dict(), module.generator.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    grit().begin_average()


def test_rates_over_a_training():
    rates = []
    module = grit(warmup=3)
    original = module.training_step

    def watched(batch, batch_idx):
        rates.append([group["lr"] for optimizer in module.trainer.optimizers for group in optimizer.param_groups])
        return original(batch, batch_idx)

    module.training_step = watched
    fit(module, loader_of(8, 2), max_epochs=3)  # four batches an epoch
    shares = [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1, 1, 1 - 0.9 / 4, 1 - 1.8 / 4, 1 - 2.7 / 4]
    assert [each[0] for each in rates] == pytest.approx([1e-3 * share for share in shares])
    assert all(each[0] == each[1] for each in rates)


def test_a_training_of_a_number_of_steps_decays_at_its_own_end():
    module = grit()
    trainer = fit(module, loader_of(8, 2), max_epochs=-1, max_steps=12)  # six batches
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    assert rate == pytest.approx(1e-4)


def test_a_training_that_is_shorter_than_its_decay_begins_with_the_whole_rate():
    module, rates = grit(decay_epochs=100), []
    original = module.training_step
    module.training_step = lambda *batch: rates.append(module.optimizers()[0].param_groups[0]["lr"]) or original(*batch)
    fit(module, loader_of(8, 2), max_epochs=1)
    assert rates == pytest.approx([1e-3 * share for share in (1, 1 - 0.9 / 4, 1 - 1.8 / 4, 1 - 2.7 / 4)])


def test_large_gradients_are_clipped():
    free, clipped = (gradients_of(grit(clip=clip, **PLAIN), loader_of(4)) for clip in (None, 1e-3))
    for ours, theirs in zip(clipped, free, strict=True):
        assert torch.equal(ours, theirs.clamp(-1e-3, 1e-3))
    assert max(float(each.abs().max()) for each in free) > 0.01


def test_logits_of_one_discriminator_and_of_several_scales():
    one = torch.zeros(3)
    assert logits(one) == [one]
    maps = [[torch.zeros(1), torch.ones(2)], [torch.zeros(3), torch.ones(4)]]
    assert [each.numel() for each in logits(maps)] == [2, 4]


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_any_number(count):
    """One sample, and a number that the group of the minibatch deviation does not divide."""
    module = grit(stddev_group=2)
    fit(module, loader_of(count, count))
    assert torch.isfinite(module.trainer.callback_metrics["train/discriminator"])


def test_a_discriminator_that_is_nan_ends_the_training():
    module = grit()
    with torch.no_grad():
        next(module.discriminator.parameters()).fill_(float("nan"))
    before = weights_of(module.generator)
    with pytest.raises(NonFiniteLossError, match="the loss is not finite at training batch 0"):
        fit(module, loader_of(8), callbacks=[FiniteLoss()])
    assert all(torch.equal(value, before[name]) for name, value in weights_of(module.generator).items())


class Alone(AdversarialModule):
    """A generator without a discriminator."""

    def __init__(self, **options):
        super().__init__(
            torch.nn.Linear(2, 2),
            None,
            adversarial=AdversarialOptions(),
            optimizer=OptimizerOptions(**options),
            hardware=HardwareOptions(),
        )

    def training_step(self, batch, batch_idx):
        with frozen(self.discriminator):
            loss = self.generator(batch).square().mean()
        self.learn({"pixels": loss}, batch_idx, batch_size=len(batch))


def test_a_generator_may_learn_alone():
    torch.manual_seed(0)
    module = Alone(lr=0.1, beta1=0.9, warmup=1, ema=0.5, decay_epochs=1, decay_floor=0.0)
    weight = module.generator.weight.detach().clone()
    batches = [torch.ones(2, 2)] * 4
    trainer = fit(module, torch.utils.data.DataLoader(batches, batch_size=None), max_steps=4, max_epochs=-1)
    assert trainer.global_step == 4, "one optimiser, one step a batch"
    assert len(trainer.optimizers) == 1
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0), "decayed over the four steps there are"
    assert not torch.equal(module.generator.weight, weight)
    assert not torch.equal(module.shown.weight, module.generator.weight)
