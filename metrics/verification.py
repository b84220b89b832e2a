"""How well embeddings tell whether two pictures show one person."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override


class Verification(Metric):
    """Cosines of all pairs of pictures, those of one person against those of two.

    Returns:
        ``compute`` gives "AUC", the probability that a pair of one person has a higher cosine than a pair of two, and
        the mean cosines "same" and "other"; NaN where there are no such pairs.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    @override
    def update(self, embeddings: Tensor, people: Tensor) -> None:
        """Add pictures.

        Args:
            embeddings: (N, D), of any length but 0.
            people: (N,) whom they show, numbers below 2^24.
        """
        unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
        self.rows.append(torch.cat([people[:, None].float(), unit], 1))

    @override
    def compute(self) -> dict[str, Tensor]:
        """Return the three figures."""
        rows = dim_zero_cat(self.rows)
        first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
        same = rows[first, 0] == rows[second, 0]
        cosines = (rows[:, 1:] @ rows[:, 1:].T)[first, second]
        known = bool(same.any()) and not bool(same.all())
        # Between 0 and 1, because torchmetrics takes other scores for logits and rounds them through a sigmoid.
        auc = binary_auroc((cosines.clamp(-1, 1) + 1) / 2, same.long()) if known else cosines.new_tensor(torch.nan)
        return {"AUC": auc, "same": cosines[same].mean(), "other": cosines[~same].mean()}
