"""How tests start the configuration of Diff2Lip: on a network and clips that a CPU trains on in seconds."""

DIFF2LIP = "configs/diff2lip.yaml"
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.log_every_n_steps=1",
]
NETWORK = {
    "face_size": 32,
    "unet.base": 8,
    "unet.multipliers": "[1,2]",
    "unet.attention_levels": "[1]",
    "unet.head_channels": 8,
    "discriminator.base": 4,
    "discriminator.layers": 1,
    "sampling.steps": 2,
    "single_frames": 0,
    "losses.perceptual_start": 0,
}
CLIPS = {"clips": 4, "test_clips": 2, "val_clips": 0, "seconds": 1.0, "face_size": 32, "rounds": 1, "batch_size": 2}
SMALL = [
    *(f"--model.{key}={value}" for key, value in NETWORK.items()),
    *(f"--data.{key}={value}" for key, value in CLIPS.items()),
    *("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"),
]
