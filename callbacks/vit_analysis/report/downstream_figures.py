"""Why ViTs are used: the figures about downstream tasks (thesis sections 2.5 and 2.7.6)."""

from collections.abc import Iterator

from callbacks.vit_analysis.report import line_plots
from callbacks.vit_analysis.report.exhibits import DrawnPicture, Exhibit, Models
from callbacks.vit_analysis.report.style import file_names, main_models
from callbacks.vit_analysis.report.tables import PCK, TOP1, TOP5, VIDEO, Measure, retrieval_measure, retrieval_sets


def _picture(suffix: str, title: str, models: Models, measure: Measure) -> DrawnPicture:
    figure = line_plots.metric(models, measure.protocol, measure.key, measure.title, measure.per_cent)
    return DrawnPicture(suffix, title, figure)


def _global(models: Models) -> Iterator[DrawnPicture]:
    main = main_models(models)
    yield _picture("knn", "Image classification by k-NN, CLS token", main, TOP1)
    for data_set in retrieval_sets(main)[:1]:
        measure = retrieval_measure(data_set, "medium")
        yield _picture("retrieval", f"Image retrieval on {data_set}, CLS token", main, measure)


def _local(models: Models) -> Iterator[DrawnPicture]:
    main = main_models(models)
    yield _picture("video", "Video segmentation, dense spatial tokens", main, VIDEO[2])
    yield _picture("keypoints", "Keypoint correspondence, spatial tokens", main, PCK[0])


def _knn(models: Models) -> Iterator[DrawnPicture]:
    yield _picture("top1", "Top-1 accuracy by k-NN", models, TOP1)
    yield _picture("top5", "Top-5 accuracy by k-NN", models, TOP5)


def _retrieval(models: Models) -> Iterator[DrawnPicture]:
    sets = retrieval_sets(models)
    for data_set, part in zip(sets, file_names(sets).values(), strict=True):
        for level in ("medium", "hard"):
            measure = retrieval_measure(data_set, level)
            yield _picture(f"{part}_{level}", f"Retrieval on {data_set}, {level}", models, measure)


def _video(models: Models) -> Iterator[DrawnPicture]:
    names = {"J": "region similarity J", "F": "boundary accuracy F", "J&F": "their mean J&F"}
    for measure, part in zip(VIDEO, ("j", "f", "jf"), strict=True):
        yield _picture(part, f"Video segmentation: {names[measure.key]}", models, measure)


def _keypoints(models: Models) -> Iterator[DrawnPicture]:
    for measure, part in zip(PCK, ("10", "05", "01"), strict=True):
        title = f"Keypoint correspondence: {measure.title.removesuffix(' (%)')}"
        yield _picture(f"pck_{part}", title, models, measure)


EXHIBITS = [
    Exhibit(
        "2.9",
        "Global tasks with the CLS token",
        "k-NN classification and image retrieval without any training; higher is better. See whether the last layer is "
        "the best, and how far the methods without a loss on the CLS token (MAE, BEiT) stay above the dashed line.",
        draw=_global,
    ),
    Exhibit(
        "2.10",
        "Local tasks with the spatial tokens",
        "Video segmentation by label propagation and keypoint correspondence; higher is better. See at which layer "
        "each model peaks: mostly before the last, so taking the last layer by habit loses accuracy.",
        draw=_local,
    ),
    Exhibit(
        "2.28",
        "k-NN classification, all models",
        "Against layer / depth, if depths differ. See whether larger models peak at another share of their depth.",
        draw=_knn,
    ),
    Exhibit(
        "2.29",
        "Image retrieval, all models",
        "Mean average precision with the medium and the hard set of positives; compare with Figure 2.28.",
        draw=_retrieval,
    ),
    Exhibit(
        "2.30",
        "Video segmentation, all models",
        "Dense features. Models with smaller patches have finer features and should be ahead, most of all at "
        "boundaries (F).",
        draw=_video,
    ),
    Exhibit(
        "2.31",
        "Keypoint correspondence, all models",
        "A keypoint counts as found within 0.1, 0.05 or 0.01 of the larger side; the strict thresholds need finer "
        "grids of tokens.",
        draw=_keypoints,
    ),
]
