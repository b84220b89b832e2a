import pytest
import torch
from sklearn.metrics import roc_auc_score

from metrics.verification import Verification


def test_is_the_area_under_the_curve_of_all_pairs():
    generator = torch.Generator().manual_seed(0)
    people = torch.arange(4).repeat_interleave(3)
    embeddings = torch.eye(4)[people].repeat(1, 2) + torch.randn(12, 8, generator=generator)
    metric = Verification()
    for part in (slice(0, 5), slice(5, 12)):
        metric.update(embeddings[part], people[part])
    found = metric.compute()
    cosines = torch.nn.functional.cosine_similarity(embeddings[:, None], embeddings[None], dim=2)
    pairs = [(people[i] == people[j], cosines[i, j]) for i in range(12) for j in range(i)]
    same, scores = (torch.stack(each) for each in zip(*pairs, strict=True))
    assert found["AUC"] == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert found["same"] == pytest.approx(float(scores[same].mean()), abs=1e-6)
    assert found["other"] == pytest.approx(float(scores[~same].mean()), abs=1e-6)


def test_directions_alone_count_and_apart_is_one():
    metric = Verification()
    metric.update(torch.tensor([[1.0, 0], [7, 0], [0, 2]]), torch.tensor([3, 3, 5]))
    assert {name: float(value) for name, value in metric.compute().items()} == {"AUC": 1, "same": 1, "other": 0}


def test_without_two_people_there_is_no_figure():
    metric = Verification()
    metric.update(torch.ones(2, 3), torch.tensor([1, 1]))
    found = metric.compute()
    assert found["AUC"].isnan()
    assert found["other"].isnan()
    assert found["same"] == pytest.approx(1)
