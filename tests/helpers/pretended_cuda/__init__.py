"""A pretended CUDA device: runs that would fail on a GPU fail on a machine that has none.

Tensors on "cuda:0" are wrappers around tensors of the CPU. ``.device``, ``.is_cuda``, ``.numpy()``, ``Module.to``,
autograd and compiled operators take them for tensors of a GPU; whatever is computed is computed on the CPU, and every
operator is checked as CUDA would check it. `findings` says what is recorded, `tensor` holds the wrapper and the checks,
`guard` the few lines of C++ without which autograd asks a driver, `patches` what else has to believe in the device,
`plugin` runs any test of this project on it:

    python -m pytest -p tests.helpers.pretended_cuda.plugin --pretended-cuda=report.json tests/...

A run without a mixture of devices, a CPU generator, a missing kernel and an exception would not fail for devices on a
GPU where it takes the same branches. Not covered: pinned memory, streams, NCCL, compiled and fused kernels, fused and
foreach optimisers, GradScaler, and the numbers that CUDA itself computes. torch must be a build for CUDA, whose kernels
are looked up; none is called.
"""
