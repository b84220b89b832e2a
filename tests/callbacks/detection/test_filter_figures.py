from callbacks.detection.filter_figures import losses_in_words, losses_of, results_of, truth_in_words, truth_of


def entry(verdicts, low_quality=False):
    return {"truth": {"verdicts": verdicts, "low_quality": low_quality, "extra": []}}


def test_precision_and_recall_by_hand():
    entries = [
        entry(["right", "missing", "right"]),
        entry(["wrong class", "right"]),
        entry(["right"], low_quality=True),
        entry([], low_quality=True),
    ]
    found = [["kept", "unseen", "kept"], ["kept", "small"], None, []]
    assert truth_of(entries, found) == {
        "pictures": {"there": {"good": 2, "bad": 2}, "kept": {"good": 2, "bad": 1}, "precision": 2 / 3, "recall": 1.0},
        "annotations": {
            "there": {"right": 3, "wrong class": 1, "missing": 1},
            "kept": {"right": 2, "wrong class": 1, "missing": 0},
            "precision": 2 / 3,
            "recall": 2 / 3,
        },
    }
    assert truth_of([{"truth": None}], [["kept"]]) is None


def test_what_is_kept_becomes_figures():
    truth = {
        "pictures": {"there": {"good": 3, "bad": 1}, "kept": {"good": 3, "bad": 0}, "precision": 1.0, "recall": 1.0},
        "annotations": {"there": {"right": 4, "missing": 0}, "kept": {"right": 2, "missing": 0}, "precision": 1.0,
                        "recall": 0.5},
    }  # fmt: skip
    summary = {
        "pictures": {"all": 4, "kept": 3},
        "annotations": {"all": {"a": 4, "b": 1}, "many": {"a": 2, "b": 0}},
        "truth": truth,
    }
    rows = {(row.method, row.metric): (row.value, row.count) for row in results_of(summary)}
    assert rows == {
        ("pictures", "kept"): (0.75, 4),
        ("pictures", "precision"): (1, 4),
        ("pictures", "recall"): (1, 4),
        ("pictures", "good kept"): (1, 4),
        ("pictures", "bad kept"): (0, 4),
        ("annotations", "kept"): (0.4, 5),
        ("annotations", "precision"): (1, 5),
        ("annotations", "recall"): (0.5, 5),
        ("annotations", "right kept"): (0.5, 5),
    }
    rows = results_of(summary | {"truth": None})
    assert [(row.method, row.metric) for row in rows] == [("pictures", "kept"), ("annotations", "kept")]


def quartiles():
    return [
        {"least": k + 0.25, "most": k + 1.0, "annotations": 5, "seen": seen}
        for k, seen in enumerate((1.0, 0.8, 0.4, 0.2))
    ]


def test_losses_become_words_and_figures():
    assert losses_of({"losses": None}, ["cat"]) is None
    assert losses_in_words(None) == []
    decided = {"losses": {"classes": [1.25, None, 3.0], "quartiles": quartiles(), "kept": 1.5}}
    losses = losses_of(decided, ["cat", "dog", "owl"])
    assert losses["classes"] == {"cat": 1.25, "dog": None, "owl": 3.0}
    assert losses_in_words(losses) == [
        "mean loss by class, the hardest first: owl 3, cat 1.25",
        "1 of 3 classes has no annotation to measure",
        "seen by the detector, by quartile of the loss from easy to hard: 100% (0.25 to 1), 80% (1.25 to 2), "
        "40% (2.25 to 3), 20% (3.25 to 4)",
    ]
    summary = {"pictures": {"all": 4, "kept": 3}, "annotations": {"all": {"cat": 4}, "many": {"cat": 2}}, "truth": None}
    rows = results_of(summary | {"losses": losses})[2:]
    assert [(row.method, row.metric, row.value, row.count) for row in rows] == [
        ("pictures", "number", 3, 3),
        ("pictures", "hardness", 1.5, 3),
        *[(f"loss quartile {k}", "seen", seen, 5) for k, seen in enumerate((1.0, 0.8, 0.4, 0.2), 1)],
    ]
    nothing = {"classes": [None], "quartiles": [], "kept": None}
    rows = results_of(summary | {"losses": losses_of({"losses": nothing}, ["cat"])})[2:]
    assert [(row.metric, row.value) for row in rows] == [("number", 3)]


def test_the_truth_in_words():
    assert truth_in_words(None) == []
    known = {"pictures": {"there": {"good": 4}, "kept": {"good": 3}, "precision": 1.0, "recall": 0.75}}
    assert truth_in_words(known) == [
        "by the truth of the manifest, pictures kept: 3 of 4 good; precision 1.00, recall 0.75"
    ]
