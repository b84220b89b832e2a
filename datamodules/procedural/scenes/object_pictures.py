"""Pictures of single procedural objects, to be pasted, with the faults of a generator on request."""

import numpy as np
from typing_extensions import override

from datamodules.procedural.scenes.repainting import (
    NOISE,
    check_faults,
    class_drawn,
    class_number,
    fitted,
    verdict_drawn,
)
from datamodules.procedural.scenes.scenes import background, painted
from networks.object_pasting import ObjectPicture, ObjectPictures
from visionscapes.checks import Share, check_options


class SceneObjects(ObjectPictures):
    """Draws pictures of procedural objects, each before a background of its own.

    Args:
        wrong_class: share of the pictures that show another class.
        missing: share of the pictures that show no object.

    Raises:
        UserError: a share outside [0, 1], or both add up to more than 1; in ``draw``, a class that the scenes do not
            have.
    """

    def __init__(self, wrong_class: Share = 0.0, missing: Share = 0.0):
        check_options(SceneObjects, locals())
        check_faults("", wrong_class, missing)
        self.wrong_class, self.missing = wrong_class, missing

    @override
    def draw(self, name: str, size: tuple[int, int], rng: np.random.Generator) -> ObjectPicture:
        wanted, (height, width) = class_number(name), size
        side, box = max(size), np.array([0, 0, width, height], float)
        verdict = verdict_drawn(rng, self.wrong_class, self.missing)
        item = fitted(rng, class_drawn(rng, wanted, verdict), box, side)
        # Noise of backgrounds cannot be finer than their pixels, and objects can be a few pixels small.
        surroundings = background(rng, max(side, 32))[:side, :side]
        canvas, instances, _ = painted(surroundings, () if verdict == "missing" else (item,))
        canvas += rng.normal(0, NOISE, canvas.shape)
        rgb = (canvas[:height, :width].clip(0, 1) * 255).round().astype(np.uint8)
        alpha = ((instances[:height, :width] > 0) * 255).astype(np.uint8)
        return ObjectPicture(np.dstack([rgb, alpha]), rgb, verdict)
