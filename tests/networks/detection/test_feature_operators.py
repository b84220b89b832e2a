import pytest
import torch
import torchvision.ops
from torch.nn import functional as F

from networks.detection.ops import ensure_ops
from visionscapes.errors import UserError

ensure_ops()
from mmcv.ops import sigmoid_focal_loss  # noqa: E402
from mmcv.ops.carafe import carafe  # noqa: E402
from mmcv.ops.multi_scale_deform_attn import (  # noqa: E402
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])


def attention_inputs(device, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = torch.tensor([[5, 7], [3, 4]])
    value = torch.randn(2, 47, 2, 3, generator=generator)
    at = torch.rand(2, 6, 2, 2, 4, 2, generator=generator) * 1.4 - 0.2  # some outside
    weights = torch.rand(2, 6, 2, 8, generator=generator).softmax(-1).view(2, 6, 2, 2, 4)
    floats = [x.to(device, dtype).requires_grad_() for x in (value, at, weights)]
    return shapes.to(device), torch.tensor([0, 35], device=device), floats


def naive_attention(value, shapes, at, weights):
    """Sum over levels and points of bilinear samples, pixel by pixel."""
    out = torch.zeros(value.shape[0], at.shape[1], value.shape[2], value.shape[3], dtype=value.dtype)
    first = 0
    for level, (height, width) in enumerate(shapes.tolist()):
        maps = value[:, first : first + height * width].view(value.shape[0], height, width, *value.shape[2:])
        first += height * width
        for b, q, h, p in torch.cartesian_prod(*map(torch.arange, (*at.shape[:3], at.shape[4]))).tolist():
            x, y = (at[b, q, h, level, p] * torch.tensor([width, height]) - 0.5).tolist()
            for row in range(height):
                for column in range(width):
                    share = max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
                    out[b, q, h] += weights[b, q, h, level, p] * share * maps[b, row, column, h]
    return out.flatten(2)


def test_deformable_attention_equals_the_naive_one():
    shapes, starts, (value, at, weights) = attention_inputs("cpu")
    with torch.no_grad():
        out = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, at, weights, 64)
        torch.testing.assert_close(out, naive_attention(value, shapes, at, weights))


@devices
def test_gradients_of_deformable_attention(device):
    shapes, starts, inputs = attention_inputs(device)
    value, at, weights = inputs
    out = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, at, weights, 64)
    expected = multi_scale_deformable_attn_pytorch(value, shapes, at, weights)
    grads, wanted = (torch.autograd.grad(each.sin().sum(), inputs) for each in (out, expected))
    for ours, theirs in zip(grads, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@devices
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deformable_attention_in_reduced_precision(device, dtype):
    shapes, starts, inputs = attention_inputs(device, dtype)
    out = MultiScaleDeformableAttnFunction.apply(inputs[0], shapes, starts, *inputs[1:], 64)
    full = [x.detach().float() for x in inputs]
    expected = multi_scale_deformable_attn_pytorch(full[0], shapes, *full[1:])
    torch.testing.assert_close(out, expected.to(dtype))
    assert all(grad.dtype == dtype for grad in torch.autograd.grad(out.sum(), inputs))


def naive_carafe(features, masks, kernel, groups, scale):
    batch, channels, height, width = features.shape
    padded = F.pad(features, [kernel // 2] * 4)
    out = torch.zeros(batch, channels, height * scale, width * scale, dtype=features.dtype)
    for b, c, y, x in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        window = padded[b, c, y // scale : y // scale + kernel, x // scale : x // scale + kernel]
        group = c // (channels // groups)
        own = masks[b, group * kernel**2 : (group + 1) * kernel**2, y, x].view(kernel, kernel)
        out[b, c, y, x] = (window * own).sum()
    return out


@devices
@pytest.mark.parametrize(("kernel", "groups", "scale"), [(3, 1, 2), (5, 2, 2), (1, 4, 3)])
def test_carafe_equals_the_naive_one(device, kernel, groups, scale):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 4, 5, generator=generator, dtype=torch.float64)
    masks = torch.randn(2, groups * kernel**2, 4 * scale, 5 * scale, generator=generator, dtype=torch.float64)
    out = carafe(features.to(device), masks.to(device), kernel, groups, scale)
    torch.testing.assert_close(out.cpu(), naive_carafe(features, masks, kernel, groups, scale))


def test_gradients_of_carafe_are_derivatives():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 2, 2, 1, generator=generator, dtype=torch.float64).requires_grad_()
    masks = torch.randn(1, 18, 4, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, m: carafe(f, m, 3, 2, 2), (features, masks))


@devices
def test_carafe_in_reduced_precision_is_the_rounded_one(device):
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(1, 4, 4, 4, generator=generator).to(device, torch.bfloat16).requires_grad_()
    masks = torch.randn(1, 9, 8, 8, generator=generator).to(device, torch.bfloat16).requires_grad_()
    out = carafe(features, masks, 3, 1, 2)
    torch.testing.assert_close(out, carafe(features.float(), masks.float(), 3, 1, 2).bfloat16())
    assert all(grad.dtype == torch.bfloat16 for grad in torch.autograd.grad(out.sum(), (features, masks)))


@devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("number", [0, 1, 6])
def test_focal_loss_equals_torchvision(device, dtype, number):
    generator = torch.Generator().manual_seed(number)
    logits = (torch.randn(number, 5, generator=generator) * 4).to(device, dtype).requires_grad_()
    target = torch.randint(0, 6, (number,), generator=generator).to(device)  # 5 is background
    full = logits.detach().to(torch.float64 if dtype == torch.float64 else torch.float32).requires_grad_()
    positive = F.one_hot(target, 6)[:, :5].to(full.dtype)
    out = sigmoid_focal_loss(logits, target, 1.5, 0.3, None, "none")
    expected = torchvision.ops.sigmoid_focal_loss(full, positive, 0.3, 1.5)
    torch.testing.assert_close(out, expected.to(dtype))
    (grad,) = torch.autograd.grad(out.sum(), logits)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.sum(), full)[0].to(dtype))


def test_focal_loss_by_hand_and_far_logits_stay_finite():
    logits = torch.tensor([[0.0, 0.0]], requires_grad=True)
    out = sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, "none")
    torch.testing.assert_close(out, torch.tensor([[0.75, 0.25]]) * 0.25 * torch.log(torch.tensor(2.0)))
    far = torch.tensor([[200.0, -200.0]], requires_grad=True)
    sigmoid_focal_loss(far, torch.tensor([1]), 2.0, 0.25, None, "sum").backward()
    assert far.grad.isfinite().all()


def test_weights_of_classes_are_refused():
    with pytest.raises(UserError, match="weights of classes"):
        sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([0]), 2.0, 0.25, torch.ones(2), "none")
