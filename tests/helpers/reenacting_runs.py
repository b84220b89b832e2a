"""How tests start the configuration of LSR to reenact people, on a network that a CPU trains in seconds."""

LSR = "configs/lsr.yaml"
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.log_every_n_steps=1",
]
NETWORK = {
    "image_size": 32,
    "network.base": 4,
    "network.most": 8,
    "network.latent": 8,
    "network.levels": 2,
    "network.spade_hidden": 4,
    "discriminator.base": 64,
}
PEOPLE = {"people": 4, "test_people": 2, "val_people": 0, "image_size": 32, "batch_size": 2, "sources": 4, "targets": 2}
SMALL = [
    *(f"--model.{key}={value}" for key, value in NETWORK.items()),
    *(f"--data.{key}={value}" for key, value in PEOPLE.items()),
]
WRITER = ["--trainer.callbacks=callbacks.ReenactmentWriter"]
