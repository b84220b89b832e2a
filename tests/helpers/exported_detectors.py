"""What of mmdet's families of detectors can be exported, measured on small ones of each: the table of docs/export.md.

``python -m tests.helpers.exported_detectors`` measures all of them and writes the table into the page.
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import nn

from lightning_modules.detector_exporting import RawHeads, decoded, exported_detector
from networks.detection.build import build_detector
from tests.helpers.runs import ROOT
from tests.networks.detection import test_centernet2, test_vit_pyramid
from tests.networks.detection.test_families import FAMILIES as CONFIGURATIONS
from visionscapes.errors import UserError
from visionscapes.exporting import programs
from visionscapes.exporting.export import export_networks

PAGE = ROOT / "docs" / "export.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
SIZE = 160, 192  # height and width in pixels of what takes one size only
NAMED = {
    "RetinaNet": "retinanet",
    "FCOS": "fcos",
    "ATSS": "atss",
    "GFL": "gfl",
    "TOOD": "tood",
    "YOLOX": "yolox",
    "SSD": "ssd",
    "CenterNet": "centernet/",
    "Faster R-CNN": "faster_rcnn/faster-rcnn_r50_fpn",
    "Faster R-CNN, C4": "faster_rcnn/faster-rcnn_r50-caffe_c4",
    "Cascade R-CNN": "cascade_rcnn",
    "Sparse R-CNN": "sparse_rcnn",
    "DETR": "detr/",
    "Deformable DETR": "deformable_detr",
}


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        family: of the detector.
        heads: whether the raw heads are exported, and for what sizes.
        second: likewise the second stage; empty where there is none.
        decoding: whether Python makes the same boxes of the raw outputs as the detector itself.
        pt2: whether the detector is exported end to end by torch.export.
        onnx: likewise as ONNX.
    """

    family: str
    heads: str
    second: str
    decoding: str
    pt2: str
    onnx: str


def small(name: str) -> Any:
    """Return a small detector of mmdet whose weights are random, and whose scores differ."""
    configuration = next(each for each in CONFIGURATIONS if each.startswith(NAMED[name]))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = build_detector(f"mmdet::{configuration}", CONFIGURATIONS[configuration], num_classes=2)
    return livelier(detector)


def livelier(detector: Any) -> Any:
    """Return a detector whose biases are not zero, so that boxes and scores differ from place to place."""
    torch.manual_seed(1)
    for parameter in detector.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.1, 0.9)
        elif parameter.ndim == 4 and type(detector).__name__ == "YOLOX":  # which starts with all scores alike
            nn.init.kaiming_normal_(parameter)
    return detector.eval()


DETECTORS: dict[str, Callable[[], Any]] = {
    **{name: (lambda name=name: small(name)) for name in NAMED},  # type: ignore[misc]
    "CenterNet2": lambda: livelier(test_centernet2.tiny.__wrapped__()),
    "ViTDet": lambda: livelier(test_vit_pyramid.build()),
}


class Offered(nn.Module):
    """A module that offers one part of a detector."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def exportable(self) -> list[Any]:
        return [self.part]


def measured(name: str, whole: bool = True) -> Row:
    """Return the line of a family.

    Args:
        name: of the family.
        whole: whether to try the detector end to end too.
    """
    detector = DETECTORS[name]()
    try:
        parts = {part.name: part for part in exported_detector(detector, SIZE, [])}
    except UserError:
        return Row(name, *5 * ["no"])
    heads = state(parts["detector_heads"])
    second = [state(part) for key, part in parts.items() if key.startswith("detector_boxes")]
    ends = [state(parts["detector"], [kind]) if whole else "" for kind in ("pt2", "onnx")]
    return Row(name, heads, second[0] if second else "", same_boxes(detector, parts), *ends)


def state(part: Any, formats: tuple[str, ...] | list[str] = ("onnx", "pt2")) -> str:
    """Return what becomes of a part: "yes", "one picture of one size" or "no"."""
    told: list[str] = []
    with TemporaryDirectory() as folder:
        try:
            written = export_networks(Offered(part), Path(folder), formats=formats, say=told.append)
        except UserError as error:
            told.append(str(error))
            written = []
    if len(written) < len(formats):
        kinds = [each.path.suffix[1:] for each in written]
        return f"{', '.join(kinds)} alone" if kinds else "no"
    return "one picture of one size" if any("batch cannot vary" in line for line in told) else "yes"


@torch.no_grad()
def same_boxes(detector: Any, parts: dict[str, Any]) -> str:
    """Return whether Python makes the same boxes of the raw outputs as the detector itself."""
    network = parts["detector_heads"].network
    assert isinstance(network, RawHeads)
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    heads = [
        lambda *inputs, part=part: programs.eager(part.network, inputs)
        for key, part in parts.items()
        if key.startswith("detector_boxes")
    ]
    try:
        (ours,) = decoded(detector, network, programs.eager(network, [images]), images, heads)
    except (TypeError, AttributeError, UserError):
        return "no"
    theirs = parts["detector"].network.found(images)
    order = theirs.scores.argsort(descending=True, stable=True)
    assert len(order), "nothing to compare"
    same = torch.allclose(ours["boxes"], theirs.bboxes[order], atol=1e-3) and torch.equal(
        ours["labels"], theirs.labels[order]
    )
    return "yes" if same else "no"


def table(rows: list[Row]) -> str:
    """Return the lines as a table."""
    head = Row("family", "raw heads", "second stage", "decoding in Python", "end to end, pt2", "end to end, ONNX")
    lines = [head, Row(*6 * ["---"]), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def on_the_page() -> dict[str, Row]:
    """Return the lines that the page has, by family."""
    text = PAGE.read_text()
    text = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    rows = [Row(*(cell.strip() for cell in line.strip("|\n").split("|"))) for line in text.splitlines()[2:]]
    return {row.family: row for row in rows}


def main(names: list[str]) -> None:
    """Measure families, all if none is named, and write the page."""
    known = on_the_page()
    for name in names or DETECTORS:
        known[name] = measured(name)
        print(known[name], flush=True)
        write([known[each] for each in DETECTORS if each in known])


def write(rows: list[Row]) -> None:
    """Write lines into the page."""
    text = PAGE.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    PAGE.write_text(before + table(rows) + after)


if __name__ == "__main__":
    main(sys.argv[1:])
