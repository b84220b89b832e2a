"""How tests start the configuration of SyncNet: on a network and clips that a CPU trains on in seconds."""

SYNCNET = "configs/syncnet.yaml"
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.log_every_n_steps=1",
]
NETWORK = ["--model.network.image_size=24", "--model.network.width=4", "--model.contrastive_steps=1"]
CLIPS = {"clips": 8, "test_clips": 2, "val_clips": 2, "seconds": 1.0, "face_size": 24, "windows": 3, "rounds": 1}
SMALL = [
    *NETWORK,
    *(f"--data.{key}={value}" for key, value in CLIPS.items()),
    *("--data.batch_size=4", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"),
]
