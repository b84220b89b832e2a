"""SyncNet: an expert that knows whether a mouth and a sound fit (thesis 6.2.1.3, after Wav2Lip)."""

import math
from typing import Any, Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics.aggregation import MeanMetric
from typing_extensions import override

from lightning_modules.grouped_options import GroupedOptions
from lightning_modules.schedule import adamw_with_cosine
from lightning_modules.syncnet.augmentation import SyncAugmentation
from lightning_modules.syncnet.exporting import towers
from lightning_modules.syncnet.loss import balanced_pair_loss, contrastive_loss, pair_loss
from metrics.lip_sync import sync_scores
from metrics.sync_pairs import SyncPairs, held_out_pairs
from networks.embedded_clip import EmbeddedClip, embedded_clip
from networks.sync_network import SyncNetwork
from networks.weights import read_state_dict
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveFloat, Share, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of
from visionscapes.results import SyncResult

Objective = Literal["pair", "contrastive", "contrastive_then_pair"]
SMALLEST_TEMPERATURE = 0.01  # CLIP 2.5: not to scale the logits by more than 100


class SyncNet(GroupedOptions):
    """Trains a `SyncNetwork` to tell the sound of five frames from the sound of other moments of the same clip.

    Training batches are dictionaries with "task" "sync", "faces" (B, W, 5, 3, S, S) float32 RGB in [0, 1] and "mel"
    (B, W, 80, 16): W windows of each of B clips. Batches of validation, test ("clip") and prediction ("predict") are
    one whole clip: "faces" (1, T, 3, S, S) uint8, "mel" (1, 80, M), "found" (1, T) bool and "name".

    Args:
        network: the SyncNet.
        objective: "pair" judges one pair at a time, of which half belong together (Wav2Lip, hence thesis 6.2.1.3), and
            stays at ln 2 for long; "contrastive" finds a window among the W of its clip; "contrastive_then_pair" begins
            with the second and ends with the first.
        contrastive_steps: of "contrastive_then_pair", after which pairs are judged.
        temperature: of the contrastive objective at the start; it is learned.
        augmentation: random changes of the training windows.
        lr: peak learning rate of AdamW, which without ``weight_decay`` is Adam.
        lr_floor: share of ``lr`` at the end of a cosine; 1 for a constant rate (Wav2Lip).
        warmup: steps in which the rate rises.
        weight_decay: of AdamW.
        weights: file with weights of the network, ours or Wav2Lip's, to start from or to evaluate.

    Raises:
        UserError: an option is out of its bounds, or ``weights`` cannot be read or does not fit; in training, clips
            with a single window each, or a single pair for a batch norm.
    """

    takes = "datamodules.clips.given.GivenClips"
    gives = "SyncResult: offset and confidence"
    fixed_inputs = ("face_size",)
    given_networks = ("network",)

    def __init__(
        self,
        network: SyncNetwork,
        objective: Objective = "pair",
        contrastive_steps: NonNegativeInt = 300,
        temperature: PositiveFloat = 0.1,
        augmentation: SyncAugmentation = SyncAugmentation(),
        lr: PositiveFloat = 1e-4,
        lr_floor: Share = 1.0,
        warmup: NonNegativeInt = 0,
        weight_decay: NonNegativeFloat = 0.0,
        weights: str | None = None,
    ):
        check_options(SyncNet, locals())
        super().__init__()
        self.save_hyperparameters(ignore=["network"])
        self.keep_plain_hyperparameters()
        self.network, self.objective, self.contrastive_steps = network, objective, contrastive_steps
        self.augmentation: SyncAugmentation = group_of(SyncNet, "augmentation", augmentation)
        self.lr, self.lr_floor, self.warmup, self.weight_decay = lr, lr_floor, warmup, weight_decay
        if objective != "pair":
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        if weights is not None:
            self.network.load(read_state_dict(weights), f"'{weights}'")
        self.pairs, self.mean_loss = SyncPairs(), MeanMetric()

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        faces, mel = batch["faces"], batch["mel"]
        if faces.shape[1] < 2:
            raise UserError(
                "SyncNet compares moments of a clip and got one window of each: give --data.windows 2 or more"
            )
        contrastive = self.in_contrastive_phase()
        if self.network.options["norm"] == "batch" and not contrastive and len(faces) * (faces.shape[1] // 2) < 2:
            raise UserError("a batch norm needs 2 or more pairs in a batch: give --data.batch_size 2 or more")
        loss = self.moments_of_clips(faces, mel) if contrastive else self.pairs_of_windows(faces, mel)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(faces))
        self.log("train/contrastive", float(contrastive), batch_size=len(faces))
        return loss

    def in_contrastive_phase(self) -> bool:
        """Return whether the step to come is of the contrastive objective."""
        if self.objective == "contrastive_then_pair":
            return self.global_step < self.contrastive_steps
        return self.objective == "contrastive"

    def pairs_of_windows(self, faces: Tensor, mel: Tensor) -> Tensor:
        """Return the loss over pairs: the sound of a window with its own frames or, as often, those of the next one.

        Args:
            faces: (B, W, 5, 3, S, S) in [0, 1]; of an odd number of windows the last one is left out.
            mel: (B, W, 80, 16).
        """
        half = faces.shape[1] // 2
        pictures = faces[:, : 2 * half].unflatten(1, (half, 2)).flatten(0, 1)  # (B W / 2, 2, 5, 3, S, S)
        sound = mel[:, : 2 * half : 2].flatten(0, 1)
        together = (torch.rand(len(sound)) < 0.5).to(faces.device)
        shown = torch.where(together[:, None, None, None, None], pictures[:, 0], pictures[:, 1])
        video, audio = self.embed(shown, sound)
        loss = pair_loss(self.network.logit((video * audio).sum(1)), together)
        # A parameter that takes no part in a step's loss would be an error on several processes.
        return loss if self.objective == "pair" else loss + 0 * self.log_temperature

    def moments_of_clips(self, faces: Tensor, mel: Tensor) -> Tensor:
        """Return the loss of finding every window among those of its clip, by pictures (B, W, ...) and sound."""
        video, audio = (
            each.unflatten(0, faces.shape[:2]) for each in self.embed(faces.flatten(0, 1), mel.flatten(0, 1))
        )
        loss = contrastive_loss(video, audio, self.log_temperature.exp().clamp(min=SMALLEST_TEMPERATURE))
        if self.network.probability_of != "sigmoid":
            return loss
        # The cosines do not learn from this part: it keeps their probabilities right for the phase that follows.
        return loss + balanced_pair_loss(self.network.logit((video @ audio.transpose(1, 2)).detach()))

    def embed(self, faces: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings (N, D) of training windows (N, 5, 3, S, S) and of sound (N, 80, 16), augmented."""
        faces, mel = self.augmentation.of_faces(faces), self.augmentation.of_sound(mel)
        return self.network.embed_faces(faces), self.network.embed_sound(mel)

    def embedded(self, batch: dict[str, Any]) -> EmbeddedClip:
        """Return a whole clip's embeddings."""
        faces, mel, found = batch["faces"], batch["mel"], batch["found"]
        return embedded_clip(self.network, batch["name"][0], faces[0], mel[0], found[0])

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> EmbeddedClip:
        return self.embedded(batch)

    @override
    def default_inputs(self) -> dict[str, Any]:
        return {"face_size": self.network.image_size}

    @override
    def answers(self, batch: dict[str, Any]) -> list[SyncResult]:
        """Return by how much the sound of a clip is late."""
        clip = self.predict_step(batch, 0)
        offset, confidence, distance = sync_scores(clip.video, clip.audio, known=clip.known)
        windows = int(clip.known.sum())
        return [SyncResult(offset, confidence, distance, windows=windows, faces=clip.faces)]

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        if batch.get("task") != "clip":
            return None
        clip = self.embedded(batch)
        true, false = held_out_pairs(clip.video, clip.audio, clip.known, clip.name)
        if len(true):
            together = torch.cat([torch.ones_like(true), torch.zeros_like(false)])
            loss = pair_loss(self.network.logit(torch.cat([true, false])), together)
            self.mean_loss.update(loss, weight=len(together))
            self.pairs.update(true, false, clip.threshold)
        return clip

    test_step = validation_step

    @override
    def on_validation_epoch_start(self) -> None:
        self.pairs.reset()
        self.mean_loss.reset()

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_held_out("val")

    @override
    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    @override
    def on_test_epoch_end(self) -> None:
        self._log_held_out("test")

    def _log_held_out(self, stage: str) -> None:
        """Log cross-entropy, accuracy and AUC over held-out pairs, and the standard errors of the last two."""
        figures = self.pairs.compute()
        self.log(f"{stage}/bce", self.mean_loss.compute(), prog_bar=True, sync_dist=False)
        for name, figure in (("accuracy", figures["accuracy"]), ("auc", figures["AUC"])):
            self.log(f"{stage}/{name}", figure.value.float(), prog_bar=True, sync_dist=False)
            self.log(f"{stage}/{name}_error", figure.standard_error.float(), sync_dist=False)

    @override
    def on_predict_start(self) -> None:
        """Refuse to judge clips with an untrained network.

        Raises:
            UserError: nothing was trained or loaded.
        """
        fresh = self.trainer.ckpt_path is None and self.trainer.global_step == 0 and not self.loaded
        if fresh and self.hparams["weights"] is None:
            raise UserError(
                "this SyncNet is untrained: train one first (python cli.py fit --config configs/syncnet.yaml), or give "
                "--ckpt_path <checkpoint> or --model.weights <file>, such as weights/syncnet.safetensors"
            )

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the network's weights, which ``callbacks.BackboneWriter`` keeps."""
        return self.network.state_dict()

    def exportable(self) -> list[Exportable]:
        """Return the towers of faces and of sound to export."""
        return towers(self.network)

    def backbone_options(self) -> dict[str, str]:
        """Return with which options the network is made again."""
        return {key: str(value) for key, value in self.network.options.items()}

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        parameters = self.network.effective_parameters()
        if self.objective != "pair":
            parameters.append(self.log_temperature)
        if self.lr_floor == 1 and not self.warmup:
            return torch.optim.AdamW(parameters, self.lr, weight_decay=self.weight_decay)
        steps = self.trainer.estimated_stepping_batches
        return adamw_with_cosine(parameters, self.lr, self.weight_decay, self.warmup, steps, self.lr_floor)
