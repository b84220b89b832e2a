"""The third stage of LSR: generators and discriminator learn one person's shots by heart (thesis 6.1.1.5)."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.adversarial import discriminator_losses, frozen, hyperbolic_decay
from lightning_modules.adversarial_options import AdversarialOptions, OptimizerOptions
from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.network import HeadNetwork, Latents, signed
from lightning_modules.lsr.objective import Objective, scores_beside
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Share, check_options
from visionscapes.errors import UserError
from visionscapes.processes import is_first
from visionscapes.progress import track
from visionscapes.seeding import derived_seed

STEPS = ((4, 24), (8, 60), (16, 100), (32, 200))  # steps with fewer shots than that, as in the official code
MOST_STEPS = 400


@dataclass(frozen=True)
class FineTuningOptions:
    """How the network is fine-tuned on K shots of one person; the defaults are those of the official code.

    Args:
        steps: of each network, a shot a step; None for 24 with less than 4 shots, 60 with less than 8, 100 with less
            than 16, 200 with less than 32, and 400. The network stays as it is with 0.
        lr: learning rate of Adam; it falls as a hyperbola over the second half of the steps.
        decay_floor: share of the rate that it falls to.
        clip: largest absolute value of an element of a gradient; None for no limit.
        lambda_id: weight of the distance of VGGFace's logits instead of the training's; a comment in the official code
            advises 20.
        check_every: steps from one look at the shot that is kept back to the next; the network that was best is kept.

    Raises:
        UserError: an option out of its bounds.
    """

    steps: NonNegativeInt | None = None
    lr: PositiveFloat = 1e-3
    decay_floor: Share = 0.01
    clip: PositiveFloat | None = 1.0
    lambda_id: NonNegativeFloat | None = None
    check_every: PositiveInt = 4

    def __post_init__(self) -> None:
        check_options(FineTuningOptions, vars(self))

    def steps_of(self, shots: int) -> int:
        """Return how many steps there are with K shots."""
        if self.steps is not None:
            return self.steps
        return next((steps for below, steps in STEPS if shots < below), MOST_STEPS)

    def schedule(self, steps: int) -> Callable[[int], float]:
        """Return the share of the learning rate by step."""
        return lambda step: hyperbolic_decay(step, steps, steps / 2, floor=self.decay_floor)

    def optimizer(self) -> OptimizerOptions:
        """Return how both networks step."""
        return OptimizerOptions(lr=self.lr, clip=self.clip)

    def due(self, step: int, steps: int) -> bool:
        """Return whether after so many steps the shot that is kept back is looked at."""
        return step % self.check_every == 0 or step == steps


class OwnShots(NamedTuple):
    """Photographs of one person.

    Attributes:
        images: (N, 3, S, S) in [0, 1].
        drawings: (N, 3, S, S) in [0, 1], of their landmarks.
    """

    images: Tensor
    drawings: Tensor

    def one(self, step: int) -> "OwnShots":
        """Return the shot of a step: all of them in an order of its own, and again in another."""
        cycle, place = divmod(step, len(self.images))
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(derived_seed(0, cycle)))
        chosen = int(order[place])
        return OwnShots(*(part[chosen : chosen + 1] for part in self))


def kept_back(shots: OwnShots) -> tuple[OwnShots, OwnShots]:
    """Return what is trained on and what tells which network is best: the last of several shots, or a mirrored one.

    The official code trains on the frames that it is evaluated on; the thesis says "the few-shot inputs".
    """
    if len(shots.images) == 1:
        return shots, OwnShots(*(part.flip(-1) for part in shots))
    return OwnShots(*(part[:-1] for part in shots)), OwnShots(*(part[-1:] for part in shots))


def tuned_only(network: HeadNetwork) -> None:
    """Let a network learn in G^l and G^s alone: encoders stay as they are (6.1.1.5).

    Where the losses of the image do not reach the layout, neither does the fine-tuning. A moving average, which learns
    in none of its parts, does so too.

    Raises:
        UserError: the network is given label maps of its targets, which photographs have not.
    """
    if network.spatial == "oracle":
        raise UserError(
            "a network with --model.spatial=oracle is given label maps of its targets and is not fine-tuned: take "
            "another --model.spatial, or leave fine-tuning out"
        )
    network.requires_grad_(False)
    network.image.requires_grad_(True)
    if network.layout is not None:
        network.layout.predictor.requires_grad_(network.spatial == "layout")


@torch.no_grad()
def distance_to(shot: OwnShots, network: HeadNetwork, latents: Latents, objective: Objective) -> Tensor:
    """Return L_rec of Eq. 6.4, a scalar, for the shot that is kept back."""
    head = network.render(shot.drawings, latents.of(len(shot.images)))
    return torch.stack(list(objective.reconstruction_losses(head.image, signed(shot.images)).values())).sum()


class Tuned(NamedTuple):
    """What fine-tuning has led to.

    Attributes:
        network: the best one.
        step: after how many steps it was.
        distances: L_rec for the shot that is kept back, by step.
    """

    network: HeadNetwork
    step: int
    distances: dict[int, float]

    def __str__(self) -> str:
        last = max(self.distances)
        if not last:
            return "no step: the network is as it was"
        before, best = self.distances[0], self.distances[self.step]
        kept = f"that after step {self.step} is kept" if self.step else "none was better, so nothing has changed"
        return f"{last} steps, {kept}: L_rec of what was kept back {before:.3g} before, {best:.3g} now"


def fine_tune(
    network: HeadNetwork,
    discriminator: nn.Module | None,
    shots: OwnShots,
    *,
    objective: Objective,
    adversarial: AdversarialOptions,
    options: FineTuningOptions = FineTuningOptions(),
) -> Tuned:
    """Return a copy of a network, fine-tuned on K shots of one person in float32 at least; nothing else is changed.

    Latent codes are computed once, and stay.

    Args:
        network: any `HeadNetwork`.
        discriminator: that it was trained against; None without one.
        shots: of the person, whose codes are the mean over all of them.
        objective: Eq. 6.4.
        adversarial: the game of the two.
        options: how it is done.

    Raises:
        UserError: the network needs label maps of its targets.
    """
    device = shots.images.device
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        # Steps of Adam are too small for what bfloat16 can hold, where a Trainer has all in it.
        precise = torch.promote_types(next(network.parameters()).dtype, torch.float32)
        shots = OwnShots(*(part.detach().to(precise, copy=True) for part in shots))
        network = deepcopy(network).to(precise)
        discriminator = None if discriminator is None else deepcopy(discriminator).to(precise)
        tuned_only(network)
        with torch.no_grad():
            latents = network.encode(shots.images[None], shots.drawings[None])
        seen, held = kept_back(shots)
        steps = options.steps_of(len(shots.images))
        best = Tuned(deepcopy(network), 0, {0: float(distance_to(held, network, latents, objective))})
        networks: list[nn.Module] = [each for each in (network, discriminator) if each is not None]
        optimizers = [_adam(each, options.optimizer()) for each in networks]
        share = options.schedule(steps)
        for step in track(range(steps), "steps of fine-tuning", steps, shown=is_first()):
            target = seen.one(step)
            truth, drawing = signed(target.images), signed(target.drawings)
            head = network.render(target.drawings, latents)
            scores = scores_beside(discriminator, drawing)
            losses: dict[str, Tensor] = {}
            if scores is not None:
                due = step % adversarial.penalty_every == 0
                losses, _ = discriminator_losses(adversarial, scores, truth, fake=head.image.detach(), penalised=due)
            with frozen(discriminator):
                losses |= objective.generator_losses(head.image, truth, latents, scores=scores)
            torch.stack(list(losses.values())).sum().backward()
            for optimizer in optimizers:
                _step(optimizer, options.lr * share(step), options.clip)
            if options.due(step + 1, steps):
                best = _better(best, network, step + 1, float(distance_to(held, network, latents, objective)))
    best.network.requires_grad_(False)
    return best


def _better(best: Tuned, network: HeadNetwork, step: int, distance: float) -> Tuned:
    distances = best.distances | {step: distance}
    if distance < best.distances[best.step]:
        best.network.load_state_dict(network.state_dict())
        return Tuned(best.network, step, distances)
    return best._replace(distances=distances)


def _adam(network: nn.Module, options: OptimizerOptions) -> torch.optim.Adam:
    learning = [each for each in network.parameters() if each.requires_grad]
    return torch.optim.Adam(learning, lr=options.lr, betas=(options.beta1, options.beta2))


def _step(optimizer: torch.optim.Adam, rate: float, clip: float | None) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
        if clip is not None:
            torch.nn.utils.clip_grad_value_(group["params"], clip)
    optimizer.step()
    optimizer.zero_grad()


def with_identity(losses: HeadLossOptions, options: FineTuningOptions) -> HeadLossOptions:
    """Return the weights of the losses in the fine-tuning."""
    return losses if options.lambda_id is None else replace(losses, lambda_id=options.lambda_id)
