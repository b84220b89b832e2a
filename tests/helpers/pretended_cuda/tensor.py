"""Tensors that are on "cuda:0" for everybody and on the CPU inside, and what CUDA would check of every operator."""

import contextlib
import functools
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from tests.helpers.pretended_cuda import findings
from tests.helpers.pretended_cuda.findings import note

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
COPIES = {"copy_", "_to_copy", "_copy_from", "set_data", "_has_compatible_shallow_copy_type"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}


class Pretended(torch.Tensor):
    """A tensor of the GPU. Pickles and files hold it as they would hold one of the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=CUDA,
            requires_grad=False,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"cuda({self.inner!r})"

    def __reduce_ex__(self, protocol):
        return self.inner.detach().clone().__reduce_ex__(protocol)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copy = self.detach().clone()
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, self.requires_grad)
            elif self.requires_grad:
                copy.requires_grad_(True)
            memo[id(self)] = copy
        return memo[id(self)]

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, value):
        if isinstance(value, Pretended):
            self.inner = value.inner
        else:  # as Module.cpu() does
            is_parameter = isinstance(self, torch.nn.Parameter)
            new = torch.nn.Parameter(value, self.requires_grad) if is_parameter else value
            if isinstance(self.grad, Pretended):
                new.grad = self.grad.inner
            # After an error the graph may hold the tensor still; a run that is being torn down does not need it moved.
            with contextlib.suppress(RuntimeError):
                torch.utils.swap_tensors(self, new)

    def untyped_storage(self):  # safetensors looks for shared ones
        return self.inner.untyped_storage()

    def tolist(self):
        note(findings.WAITING, "tolist")
        return self.inner.tolist()

    def new_tensor(self, data, **options):
        if isinstance(data, list):  # numbers of the device among them, each of which is waited for
            data = [x.item() if isinstance(x, torch.Tensor) else x for x in data]
            return torch.tensor(data, **{"dtype": self.dtype, "device": CUDA, **options})
        return super().new_tensor(data, **options)

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __tensor_flatten__(self):
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return Pretended(inner["inner"])


class Device(TorchDispatchMode):
    """Makes the tensors that are asked for on "cuda"."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


@functools.cache
def has_kernel(name: str) -> bool:
    """Return whether this build of torch has a CUDA kernel for an operator."""
    try:
        return torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, "CUDA")
    except RuntimeError:
        return True


def compute(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Check an operator as CUDA would, compute it on the CPU, and return tensors on the device where they would be."""
    name = func._schema.name.split("::")[-1]
    if name == "_fused_sdp_choice":
        return 0  # attention as plain products
    flat, spec = tree_flatten((args, kwargs))
    on_gpu = [x for x in flat if isinstance(x, Pretended)]
    device = next((x for x in flat if isinstance(x, torch.device)), None)
    if not on_gpu and (device is None or device.type != "cuda"):
        return func(*args, **kwargs)
    first = args[0] if args else None
    target = _target(name, first, on_gpu, device)
    _check(func, name, flat, first, target, device, args)
    inner = [x.inner if isinstance(x, Pretended) else CPU if _is_cuda(x) else x for x in flat]
    inner_args, inner_kwargs = tree_unflatten(inner, spec)
    if "pin_memory" in inner_kwargs:
        inner_kwargs["pin_memory"] = False
    result = func(*inner_args, **inner_kwargs)
    if not target:
        return first if name == "copy_" else result
    wrapped = tree_map(lambda x: Pretended(x) if _is_plain(x) else x, result)
    aliases = func._schema.is_mutable or any(each.alias_info for each in func._schema.returns)
    if not on_gpu or not aliases or name == "_to_copy":
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _target(name: str, first: Any, on_gpu: list[Pretended], device: torch.device | None) -> bool:
    """Whether the result is on the GPU."""
    if name == "copy_" or (name in INDEXED and isinstance(first, torch.Tensor)):
        return isinstance(first, Pretended)
    return device.type == "cuda" if device is not None else bool(on_gpu)


def _check(
    func: Any, name: str, flat: list, first: Any, target: bool, device: torch.device | None, args: tuple
) -> None:
    on_gpu = [x for x in flat if isinstance(x, Pretended)]
    on_cpu = [x for x in flat if _is_plain(x) and x.device.type != "meta"]
    if on_gpu and on_cpu and name not in COPIES and _is_mixed(func, name, first, on_cpu, args):
        shapes = [str([tuple(x.shape) for x in some][:3]) for some in (on_gpu, on_cpu)]
        note(findings.MIXED, f"{func} of cuda {shapes[0]} and cpu {shapes[1]}")
    if target and any(isinstance(x, torch.Generator) and x.device.type == "cpu" for x in flat):
        note(findings.GENERATOR, str(func))
    if target and on_gpu and not has_kernel(func.name()):
        note(findings.NO_KERNEL, str(func))
    if target:
        _check_order(name, flat)
    to_host = bool(on_gpu) and ((device is not None and device.type == "cpu") or (name == "copy_" and not target))
    if (on_gpu and name in findings.WAITS) or to_host:
        note(findings.WAITING, name)
    if target and name in INDEXED and _counts_places(args):
        note(findings.WAITING, f"{name} by a mask")


def _is_mixed(func: Any, name: str, first: Any, on_cpu: list[torch.Tensor], args: tuple) -> bool:
    """A GPU's operators take numbers of the CPU as tensors without a dimension, and indices from anywhere."""
    if name in INDEXED:
        values = args[2] if len(args) > 2 else None
        return not isinstance(first, Pretended) or bool(_is_plain(values) and values.dim())
    changed_on_cpu = func._schema.is_mutable and _is_plain(first)
    return changed_on_cpu or any(x.dim() for x in on_cpu)


def _counts_places(args: tuple) -> bool:
    """A mask is turned into the places where it is set, unless it says where one number is written."""
    masks = any(isinstance(x, Pretended) and x.dtype in (torch.bool, torch.uint8) for x in args[1])
    writes_a_number = len(args) > 2 and args[2].numel() == 1
    return masks and not writes_a_number


def _check_order(name: str, flat: list) -> None:
    varies = name in findings.REFUSED_IF_DETERMINISTIC | findings.OTHERWISE_IF_DETERMINISTIC
    if name == "cumsum":
        varies = any(isinstance(x, Pretended) and x.is_floating_point() for x in flat)
    if not varies:
        return
    if not torch.are_deterministic_algorithms_enabled():
        note(findings.VARYING, name)
    elif name in findings.REFUSED_IF_DETERMINISTIC:
        note(findings.VARYING, name)
        if not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError(
                f"{name}_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, or "
                "you can use the 'warn_only=True' option, if that's acceptable for your application."
            )


def _is_plain(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and not isinstance(x, Pretended)


def _is_cuda(x: Any) -> bool:
    return isinstance(x, torch.device) and x.type == "cuda"
