"""One face followed from frame to frame."""

import numpy as np
from numpy.typing import NDArray

from datamodules.clips.faces.cuts import CutFinder
from datamodules.clips.faces.face_options import NEAREST, FaceOptions
from networks.faces.finder import FoundFace, area, check_picture

# Seconds after which the detector looks again whether there is a better choice, and after which it looks for faces that
# are too small to be seen at once, while there is none.
LOOK_AGAIN, LOOK_CLOSELY = 1.0, 0.2
LARGER = 1.3  # times the area of the followed face that another one needs to be taken instead
NEAR = 0.75  # of a face's size, which it does not move from one frame to the next
RESCALED = 1.5  # by which its size does not change
FLASH = 0.2  # seconds after which a picture that was gone is no longer expected back
EVERY_LEVEL, FIRST_LEVEL = 3, 1


class Follower:
    """Chooses a face and follows it: with the mesh alone as long as that sees it, otherwise with the detector.

    Attributes:
        shot: number of the shot of the last frame.
        most_faces: that the detector has seen in one frame.

    Args:
        options: which face, and how it is found.
        rate: frames a second.
    """

    def __init__(self, options: FaceOptions, rate: float):
        self.options, self.finder = options, options.finder()
        self.look_again, self.look_closely = (max(round(rate * each), 1) for each in (LOOK_AGAIN, LOOK_CLOSELY))
        self.shot, self.most_faces = 0, 0
        self._cuts = CutFinder(round(rate * min(FLASH, options.longest_gap)))
        self._face: FoundFace | None = None  # the last one, which may be gone
        self._missing = 0  # frames since it was seen
        self._unchecked = 0  # frames since the detector has looked

    def next(self, image: NDArray[np.uint8]) -> FoundFace | None:
        """Return the face of the next frame (H, W, 3) uint8; None if there is none."""
        check_picture(image)
        before = self.shot
        self.shot = self._cuts.follow(image, None if self._face is None else self._face.box)
        is_cut = self.shot != before
        found = self._choose(self._all(image, EVERY_LEVEL)) if is_cut else self._followed(image)
        self._missing = 0 if found else self._missing + 1
        self._face = found or self._face
        return found

    def _followed(self, image: NDArray[np.uint8]) -> FoundFace | None:
        """Return the face within a shot."""
        before = self._face
        if before is None or self._missing:
            return self._found_again(image)
        self._unchecked += 1
        face = self.finder.follow(image, before.square)
        if face is None or not is_near(face, before):
            return self._found_again(image)
        if self._unchecked < self.look_again:
            return face
        faces = self._all(image, FIRST_LEVEL)
        if self.options.number is not None:
            chosen = self._choose(faces)
            return chosen if chosen is not None and not is_near(chosen, face) else face
        if self.options.choose == NEAREST or not faces or area(faces[0].box) < LARGER * area(face.box):
            return face
        return faces[0]

    def _found_again(self, image: NDArray[np.uint8]) -> FoundFace | None:
        """Return the face when the mesh has lost it: near where it was, or anywhere."""
        before = self._face
        if before is not None and self.options.number is None and self._missing < self.look_again:
            near = self.finder.find_near(image, before.square)
            if near:
                return nearest(near, before)
        # A tenth of the pictures' time: small faces are not looked for in every frame that has none.
        closely = self._missing % self.look_closely == 0
        return self._choose(self._all(image, EVERY_LEVEL if closely else FIRST_LEVEL))

    def _all(self, image: NDArray[np.uint8], levels: int) -> list[FoundFace]:
        faces = self.finder.find(image, levels)
        self.most_faces, self._unchecked = max(self.most_faces, len(faces)), 0
        return faces

    def _choose(self, faces: list[FoundFace]) -> FoundFace | None:
        """Return one of the faces of a frame, the largest of which comes first."""
        number = self.options.number
        if number is not None:
            faces = sorted(faces, key=lambda face: face.box[0] + face.box[2])[number:]
        if not faces:
            return None
        if self.options.choose == NEAREST and self._face is not None:
            return nearest(faces, self._face)
        return faces[0]


def nearest(faces: list[FoundFace], before: FoundFace) -> FoundFace:
    """Return the face that is nearest to where one was."""
    return min(faces, key=lambda face: _distance(face, before))


def is_near(face: FoundFace, before: FoundFace) -> bool:
    """Return whether a face can be the one of the frame before."""
    sides = face.square.side, before.square.side
    return _distance(face, before) < NEAR * min(sides) and max(sides) < RESCALED * min(sides)


def _distance(face: FoundFace, other: FoundFace) -> float:
    return float(np.hypot(face.square.x - other.square.x, face.square.y - other.square.y))
