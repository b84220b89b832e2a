"""GRIT and its baselines as networks of their own: everything that varies, noise too, is an input."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.paired_translation import PairedTranslation
from networks.gan.conditions import UNLABELLED, one_hot
from networks.generated import to_unit_range
from visionscapes.exporting.parts import Exportable, Input

IMAGE = "translated images in [0, 1]"
NOISE = "one for each layer with noise, the coarsest first; other noise gives other details"


class Translator(nn.Module):
    """Base of the networks to export: a condition and the style of an image to an image.

    Args:
        generator: that makes images.
        classes: labels of a label map; None for conditions that are images.
    """

    def __init__(self, generator: Any, classes: int | None):
        super().__init__()
        self.generator, self.classes = generator, classes

    @override
    def forward(self, condition: Tensor, style: Tensor, *noise: Tensor) -> Any:
        """Return images in [0, 1], and what a generator gives besides.

        Args:
            condition: label maps (B, S, S), or images (B, C, S, S) in [0, 1].
            style: images (B, 3, S, S) in [0, 1].
            noise: what else the generator takes.
        """
        unsigned = condition if self.classes is None else one_hot(condition, self.classes)
        return self.translated(unsigned, 2 * style - 1, *noise)

    @abstractmethod
    def translated(self, condition: Tensor, style: Tensor, *noise: Tensor) -> Any:
        """Return the outputs for conditions (B, C, S, S) in [0, 1] and styles (B, 3, S, S) in [-1, 1]."""


class GRITTranslator(Translator):
    """GRIT with a map for every layer of noise."""

    @override
    def translated(self, condition: Tensor, style: Tensor, *noise: Tensor) -> Any:
        signed = condition if self.classes is not None else 2 * condition - 1
        made = self.generator(signed, self.generator.style(style, signed), noise or None)
        return to_unit_range(made.image), *made.parts.values()


class SPADETranslator(Translator):
    """SPADE with the normal numbers that its styles are drawn with."""

    @override
    def translated(self, condition: Tensor, style: Tensor, *noise: Tensor) -> Any:
        mean, log_variance = self.generator.encode(style)
        return to_unit_range(self.generator(condition, mean + (log_variance / 2).exp() * noise[0]))


class Pix2PixHDTranslator(Translator):
    """Pix2PixHD with the label maps of the styles, where conditions are label maps."""

    @override
    def translated(self, condition: Tensor, style: Tensor, *noise: Tensor) -> Any:
        return to_unit_range(self.generator(condition, style, *noise))


def translation(
    module: PairedTranslation, network: Translator, more: Mapping[str, Input], outputs: Mapping[str, str]
) -> list[Exportable]:
    """Return a translation as it is exported.

    Args:
        module: that has learned it.
        network: made of its generator.
        more: inputs beside condition and style.
        outputs: besides the image.
    """
    size = module.hparams["image_size"]
    condition = (
        {"labels": labels(module.classes, size, "label maps of the images that are wanted")}
        if module.classes is not None
        else {"condition": Input(shape=("batch", module.condition_channels, size, size), meaning="conditions")}
    )
    style = Input(shape=("batch", 3, size, size), meaning="RGB images whose style is wanted")
    return [
        Exportable(
            name=type(module).__name__.lower(),
            network=network,
            inputs={**condition, "style": style, **more},
            outputs={"image": IMAGE, **outputs},
        )
    ]


def labels(classes: int, size: int, meaning: str) -> Input:
    """Return label maps as an input."""
    unknown = "" if classes > UNLABELLED else f"; {UNLABELLED} where no label is known"
    return Input(shape=("batch", size, size), meaning=meaning + unknown, kind="integers", low=0, high=classes)


def exported_grit(module: PairedTranslation) -> list[Exportable]:
    """Return GRIT as it is exported: each layer's noise is an input."""
    generator = module.shown
    noise = {
        f"noise_{place}": Input(shape=("batch", 1, *shape), meaning=NOISE, kind="normal", low=None, high=None)
        for place, shape in enumerate(generator.noise_shapes() if getattr(module, "noise", False) else ())
    }
    parts = (
        {
            "reconstruction": "I_rec of Eq. 5.1; [-1, 1] is black to white, and it may go beyond",
            "residual": "I_res of Eq. 5.1",
        }
        if generator.residual
        else {}
    )
    return translation(module, GRITTranslator(generator, module.classes), noise, parts)


def exported_spade(module: PairedTranslation) -> list[Exportable]:
    """Return SPADE as it is exported: the normal numbers of its styles are an input."""
    dim = module.shown.first.in_features
    drawn = Input(
        shape=("batch", dim), meaning="normal numbers; zeros for the mean style", kind="normal", low=None, high=None
    )
    return translation(module, SPADETranslator(module.shown, module.classes), {"noise": drawn}, {})


def exported_pix2pixhd(module: PairedTranslation) -> list[Exportable]:
    """Return Pix2PixHD as it is exported: label maps of the styles are an input."""
    size, classes = module.hparams["image_size"], module.classes
    meaning = "label maps of the styles; those of the images that are wanted where none are known"
    more = {} if classes is None else {"style_labels": labels(classes, size, meaning)}
    return translation(module, Pix2PixHDTranslator(module.shown, classes), more, {})
