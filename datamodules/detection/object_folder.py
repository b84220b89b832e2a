"""Pictures of single objects in folders, to be pasted."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from typing_extensions import override

from datamodules.common.image_files import find_images, read_image
from networks.object_pasting import ObjectPicture, ObjectPictures
from visionscapes.errors import UserError

TREE = """\
<folder>/
    <class>/<picture>    PNG with an alpha that says where the object is, or any other picture
"""


class ObjectFolder(ObjectPictures):
    """Pictures of objects in a folder for each class, such as a text-to-image model's of "a photo of a cat".

    Args:
        folder: holds <class>/<picture>; the alpha of a picture says where its object is, one without it is all object.

    Raises:
        DatasetNotFoundError: there is no such folder, or no picture in it.
        UserError: in ``draw``, it has no picture of a class, or one that cannot be read.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._paths = self._found()

    @override
    def draw(self, name: str, size: tuple[int, int], rng: np.random.Generator) -> ObjectPicture:
        if name not in self._paths:
            known = ", ".join(sorted(each for each in self._paths if "/" not in each)[:5])
            raise UserError(f"{self.folder} has no pictures of {name!r} ({known}): put some into {self.folder}/{name}")
        path = self._paths[name][int(rng.integers(len(self._paths[name])))]
        whole = read_image(path, upright=True, remedy="Replace or remove the file")
        with Image.open(path) as picture:
            # Pillow weighs colours by alpha as it makes a picture smaller: no colour of what is transparent gets in.
            cut = ImageOps.exif_transpose(picture).convert("RGBA") if picture.has_transparency_data else whole
        return ObjectPicture(_resized(cut.convert("RGBA"), size), _resized(whole, size))

    def _found(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        root = Path(self.folder).expanduser()
        for path in find_images(root, name="The folder of objects", expected=TREE):
            folders = path.relative_to(root).parts[:-1]
            for depth in range(1, len(folders) + 1):  # names of classes may have slashes
                found["/".join(folders[:depth])].append(path)
        return dict(found)


def _resized(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.array(picture.resize(size[::-1], Image.Resampling.LANCZOS))
