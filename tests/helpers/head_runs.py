"""How tests start the stages of LSR: on networks and drawn heads that a CPU trains on in seconds."""

QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.log_every_n_steps=1",
]
SIZE = 32
NETWORK = {
    "image_size": SIZE,
    "network.base": 4,
    "network.most": 8,
    "network.latent": 8,
    "network.levels": 3,
    "network.spade_hidden": 4,
    "experts.perceptual": "small",
}
FULL = {"losses.lambda_vggface": 0, "losses.lambda_id": 0, "discriminator.base": 128}
HEADS = {
    "image_size": SIZE,
    "people": 4,
    "test_people": 2,
    "val_people": 0,
    "frames": 4,
    "shots": 2,
    "sources": 3,
    "targets": 2,
    "batch_size": 2,
}


def words(options: dict[str, object], prefix: str) -> list[str]:
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


DATA = ["--data=HeadWorld", *words(HEADS, "data")]
# A warm-up of no step, and a rate that falls: the schedule is part of what is resumed.
STEPS = ["--model.optimizer.warmup=2", "--model.optimizer.decay_epochs=1", "--model.optimizer.ema=0.5"]
LAYOUT = ["--model=LSRLayout", *words(NETWORK, "model"), *STEPS, *DATA]
PIPELINE = ["--model=LSR", *words(NETWORK | FULL, "model"), *STEPS, *DATA]
