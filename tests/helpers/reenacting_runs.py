"""How tests start the configurations of LSR on networks that a CPU trains in seconds."""

from tests.helpers.head_runs import words

LSR, LAYOUT, FINETUNE = (f"configs/lsr{stage}.yaml" for stage in ("", "_layout", "_finetune"))
NETWORK = {
    "image_size": 32,
    "network.base": 4,
    "network.most": 8,
    "network.latent": 8,
    "network.levels": 2,
    "network.spade_hidden": 4,
}
DISCRIMINATOR = {"discriminator.base": 64}
PEOPLE = {"people": 4, "test_people": 2, "val_people": 0, "image_size": 32, "batch_size": 2, "sources": 4, "targets": 2}
SUBJECT = {"image_size": 32, "shots": 2, "sources": 2, "targets": 2}
SMALL_LAYOUT = [*words(NETWORK, "model"), *words(PEOPLE, "data")]
SMALL = [*words(DISCRIMINATOR, "model"), *SMALL_LAYOUT, "--model.layout_weights=null"]
SMALL_FINETUNE = [*words(NETWORK | DISCRIMINATOR | {"evaluation.shots": "[2]"}, "model"), *words(SUBJECT, "data")]
WRITER = ["--trainer.callbacks=callbacks.ReenactmentWriter"]
