"""The self-supervised loss of the mined regions (Eq. 3.4)."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def mean_distance(f_a: Tensor, f_o: Tensor) -> Tensor:
    """Return the squared difference of features (n, D) averaged over regions and dimensions, as the official code does.

    The gradient flows into both views.
    """
    return F.mse_loss(f_a.float(), f_o.float())


def squared_distance(f_a: Tensor, f_o: Tensor) -> Tensor:
    """Return the squared L2 norm of the difference of features (n, D), Eq. 3.4, averaged over regions."""
    return (f_a.float() - f_o.float()).pow(2).sum(1).mean()  # Eq. 3.4


SSL_NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_distance, "squared": squared_distance}
