"""The embedded world of chapter 4: simple pictures that went through small generators with a fingerprint each."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from datamodules.common.inputs import Inputs
from datamodules.common.loading import check_global_batch
from datamodules.procedural.sources.sources import SETTINGS, is_real, render_source
from datamodules.sources.images import LEAST_SIZE, CollectedPictures, SourceImages
from datamodules.sources.pictures import Augment
from visionscapes.checks import LARGEST_IMAGE, Bounds, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

if TYPE_CHECKING:
    from datamodules.procedural.sources.diffusion import PictureDiffusion

SettingName = Literal[
    "default",
    "supervised",
    "gans_0",
    "gans_1",
    "gans_2",
    "new_real",
    "new_real_starred",
    "new_gans",
    "new_gans_starred",
    "new_both",
    "new_both_starred",
    "online",
    "seeds",
]
# Where the numbers of the discovery pictures of a source start; a multiple of the block in which they are rendered.
DISCOVERED = 1_000_000


class InMemory:
    """Pictures (N, S, S, 3) uint8 that are all there."""

    def __init__(self, images: NDArray[np.uint8]):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.images[index]


class SourceWorld(SourceImages):
    """Rendered pictures of the sources of the embedded world, with batches as `SourceImages` gives them.

    What the pictures show and which sources there are is said in ``datamodules.procedural.sources.sources``; everything
    is a function of ``seed``, and the pictures stay in memory. Discovery images are named "<source>/<number>". With the
    folders ``labelled`` and ``discovery``, this is `SourceImages` on them.

    Args:
        images: labelled pictures of each known source.
        discovery_images: pictures to be discovered of each source.
        setting: which sources are known and which are to be discovered: "default" as in table 4.1, "supervised"
            with all of its 20 sources known (table 4.2), "gans_0", "gans_1" and "gans_2" with so many known generators
            for each kind of content (table 4.5), "new_real", "new_gans" and "new_both" with sources of new kinds of
            content to be discovered, "_starred" with the new real sources among the known (table 4.6), "online" with
            arrivals in rounds 3 and 5 (tables 4.7 and 4.10), "seeds" with second seeds of two generators (table 4.22).
        image_size: side S in pixels, at least 8; fingerprints are those of pixels, at any size.
        batch_size: see `SourceImages`.
        num_workers: processes that load batches.
        include_known: see `SourceImages`.
        augment: see `SourceImages`.
        seed: of the world and of the order of training.
        diffusion: weights of a small diffusion model, as ``configs/gan_discovery_diffusion.yaml`` leaves them; what it
            draws of every content that it has learned is one more source to be discovered, "<content>_diffusion".
        labelled: folder of labelled pictures, instead of the world.
        discovery: folder of pictures to be discovered, instead of the world.
        arrivals: of folders, see `SourceImages`.
        truth: of folders, see `SourceImages`.
        real: of folders, see `SourceImages`.
        root: images for ``predict``, see `SourceImages`.
        classes: of folders, see `SourceImages`.
        discovery_classes: of folders, see `SourceImages`.
        skip_unreadable: of folders, see `SourceImages`.

    Raises:
        UserError: an option out of its range, one of the two folders without the other, options of folders without
            folders, or a diffusion model beside folders; in ``setup``, the file of the diffusion model is missing or
            holds another network; what `SourceImages` raises.
    """

    def __init__(
        self,
        images: Annotated[int, Bounds(least=2)] = 100,
        discovery_images: PositiveInt = 100,
        setting: SettingName = "default",
        image_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_IMAGE)] = 64,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 0,
        include_known: bool = True,
        augment: Augment = "none",
        seed: NonNegativeInt = 0,
        diffusion: str | None = None,
        labelled: str | None = None,
        discovery: str | None = None,
        arrivals: dict[int, str | list[str]] | None = None,
        truth: bool | Literal["auto"] = "auto",
        real: list[str] | None = None,
        root: Inputs | None = None,
        classes: list[str] | None = None,
        discovery_classes: list[str] | None = None,
        skip_unreadable: bool = False,
    ):
        check_options(SourceWorld, locals())
        if (labelled is None) != (discovery is None):
            given, missing = ("labelled", "discovery") if discovery is None else ("discovery", "labelled")
            raise UserError(f"{given} is a folder, so {missing} has to be one too: give both, or none for the world")
        self.rendered = labelled is None
        of_folders = {"arrivals": arrivals, "real": real, "classes": classes, "discovery_classes": discovery_classes}
        idle = [name for name, value in of_folders.items() if value is not None]
        if self.rendered and idle:
            raise UserError(
                f"{', '.join(idle)} choose among folders, and there are none: give labelled and discovery, or choose"
                " among the sources of the world with setting"
            )
        if diffusion is not None and not self.rendered:
            raise UserError(
                "diffusion adds sources to the world, and folders take its place: leave it out, or give neither "
                "labelled nor discovery"
            )
        super().__init__(
            labelled or "",
            discovery or "",
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            arrivals=arrivals,
            include_known=include_known,
            augment=augment,
            truth=truth,
            real=real,
            root=root,
            classes=classes,
            discovery_classes=discovery_classes,
            skip_unreadable=skip_unreadable,
            seed=seed,
        )
        self.images, self.discovery_images, self.setting = images, discovery_images, setting
        self.diffusion = diffusion

    @override
    def collect(self) -> CollectedPictures:
        """Render all pictures, or find them in the folders."""
        if not self.rendered:
            return super().collect()
        setting = SETTINGS[self.setting]
        classes = tuple(sorted(setting.labelled))
        check_global_batch(len(classes) * self.images, self.batch_size)
        model = self._diffusion_model()
        rounds = {1: (*setting.discovery, *_drawn_by(model)), **setting.arrivals}
        coming = [(arrival, name) for arrival in sorted(rounds) for name in sorted(rounds[arrival])]
        count = self.discovery_images
        width = len(str(count - 1))  # leading zeros, so that names sort as numbers do
        return CollectedPictures(
            classes=classes,
            labelled=self._rendered([(name, 0) for name in classes], self.images),
            labels=np.repeat(np.arange(len(classes)), self.images),
            discovery=self._rendered([(name, DISCOVERED) for _, name in coming], count, model),
            names=[f"{name}/{number:0{width}d}" for _, name in coming for number in range(count)],
            truth=[name for _, name in coming for _ in range(count)],
            rounds=np.repeat([arrival for arrival, _ in coming], count),
        )

    @property
    def discovery_count(self) -> int | None:
        """The number of discovery images before they are drawn; None of folders, which are listed in ``setup``."""
        setting = SETTINGS[self.setting]
        sources = sum(map(len, [setting.discovery, _drawn_by(self._diffusion_model()), *setting.arrivals.values()]))
        return sources * self.discovery_images if self.rendered else None

    @override
    def is_real(self, source: str) -> bool:
        """Return whether a source is real by its name."""
        return is_real(source) if self.rendered else super().is_real(source)

    def _rendered(self, parts: list[tuple[str, int]], count: int, model: "PictureDiffusion | None" = None) -> InMemory:
        size = self.image_size
        return InMemory(
            np.concatenate([render_source(self.seed, name, first, count, size, model) for name, first in parts])
        )

    def _diffusion_model(self) -> "PictureDiffusion | None":
        if self.diffusion is None:
            return None
        from datamodules.procedural.sources.diffusion import PictureDiffusion  # diffusers takes a second to import

        return PictureDiffusion(self.diffusion)


def _drawn_by(model: "PictureDiffusion | None") -> list[str]:
    """Return the sources that a diffusion model draws."""
    return [] if model is None else [f"{content}_diffusion" for content in model.contents]
