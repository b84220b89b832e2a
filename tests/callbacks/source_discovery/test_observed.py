from callbacks.source_discovery.observed import label_name


def test_names_of_labels():
    assert [label_name(label, ["one"]) for label in (-1, 0, 1)] == ["unclustered", "one", "cluster 1"]
