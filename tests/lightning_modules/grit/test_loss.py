import torch

from lightning_modules.grit.loss import code_penalty, pixel_loss


def test_pixel_loss_is_the_mean_absolute_difference():
    truth = torch.zeros(2, 3, 2, 2)
    reconstruction = truth.clone()
    reconstruction[0, 0, 0, 0], reconstruction[1, 2, 1, 1] = 0.6, -1.8
    assert torch.isclose(pixel_loss(reconstruction, truth), torch.tensor(2.4 / 24))


def test_code_penalty_is_the_mean_square():
    code = torch.tensor([[3.0, 0.0], [0.0, -1.0]], requires_grad=True)
    penalty = code_penalty(code)
    assert penalty == 2.5
    penalty.backward()
    assert torch.equal(code.grad, code.detach() / 2)  # pulls every element towards 0
