"""The first stage of Gen2Det: pictures with the layouts of real ones, drawn by a grounded inpainter (thesis 7.2.2)."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import LightningModule
from typing_extensions import override

from lightning_modules.gen2det.guiding import DetectorGuide
from networks.guidance import Guidance
from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout
from visionscapes.checks import check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of


class LayoutInpainting(LightningModule):
    """Draws the objects of annotated pictures anew, each in its box and of its class (thesis 7.2.2); trains nothing.

    Batches are those of ``datamodules.Layouts``, one picture each. Before the first picture is given out, the boxes of
    its layout are left away once: an inpainter for which that changes nothing is refused, for then its pictures show
    objects anywhere.

    Args:
        inpainter: that draws, such as ``networks.GLIGENInpainter``.
        guide: run folder or checkpoint of a detector that was trained on the real pictures: objects are drawn towards
            what it finds hard (9.1.1), which takes an inpainter that can be guided, ``networks.DiffusionInpainter``.
        guidance: how they are drawn towards it.

    Raises:
        UserError: there is no such detector, or the inpainter cannot be guided; in prediction, an inpainter that
            ignores boxes; data that are no layouts.
    """

    cannot_fit = "generating pictures learns nothing: run it by python cli.py predict"

    def __init__(self, inpainter: GroundedInpainter, guide: str | None = None, guidance: Guidance = Guidance()):
        check_options(LayoutInpainting, locals())
        super().__init__()
        self.inpainter = inpainter
        if guide is not None:
            inpainter.guided_by(DetectorGuide(guide, group_of(LayoutInpainting, "guidance", guidance)))
        self._checked = False

    @override
    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> Inpainted | tuple[()]:
        """Return the picture that was generated, nothing at the end of the data.

        Raises:
            UserError: the data are no layouts, or boxes change nothing.
        """
        task = batch.get("task") if isinstance(batch, Mapping) else None
        if task == "end":
            return ()
        if task != "generate":
            raise UserError("LayoutInpainting draws layouts, which these data do not give: take --data=Layouts")
        layout = PictureLayout(batch["image"], batch["boxes"], tuple(batch["names"]))
        made = self.inpainter.inpaint(layout, batch["seed"])
        if not self._checked and made.repainted.any():
            if self.inpainter.ignores_boxes(layout, batch["seed"]):
                raise UserError(
                    f"{type(self.inpainter).__name__} gives the same picture with and without boxes, tried with "
                    f"{batch['name']}: its layers for boxes were lost, or have never been trained. Take another model, "
                    "or another version of the library that runs it"
                )
            self._checked = True
        return made
