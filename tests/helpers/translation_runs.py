"""How tests start the configurations of translation: on networks that a CPU trains in milliseconds."""

FACES, SIZE = "configs/grit.yaml", 32
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.log_every_n_steps=1", "--trainer.precision=32-true", "--trainer.max_epochs=1"),
]
# Networks that a CPU trains in milliseconds.
SMALL = {
    "grit": {
        **{"generator.style_dim": 8, "generator.base": 4, "generator.most": 8, "generator.downs": 2},
        "discriminator.base": 128,
    },
    "pix2pixhd": {
        **{"generator.base": 4, "generator.downs": 2, "generator.blocks": 1},
        **{"discriminator.base": 4, "matching.lambda_vgg": 0},
    },
    "spade": {
        **{"generator.base": 4, "generator.hidden": 4, "generator.style_dim": 8},
        **{"discriminator.base": 4, "matching.lambda_vgg": 0},
    },
}
FEW_FACES = {"images": 8, "test_images": 3, "image_size": SIZE, "batch_size": 4, "texture_draws": 2}


def words(options, prefix):
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


def small(config, *more):
    """Return the words that start a configuration on small networks."""
    name = config.rsplit("/", 1)[1].removesuffix(".yaml").split("_")[0]
    return [f"--config={config}", *words(SMALL[name] | {"image_size": SIZE}, "model"), *QUIET, *more]
