"""Minibatches in the fused kernel: rows, bytes, gradients and trajectories against the plain reference."""

from dataclasses import replace

import pytest
import torch

from lib.kernels.fused import build, cpp
from lib.kernels.mlp import Minibatches, random_stack
from lib.kernels.optimisers import Adam
from lib.kernels.training import train

pytestmark = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def problem(sizes=(37, 20, 18, 5), batch=13, coded=True, dtype=torch.float64):
    """Three members with 40, 7 and 31 rows of their own."""
    rng = torch.Generator().manual_seed(1)
    stack = random_stack([(3, sizes)], "relu", seed=0, dtype=dtype)
    x, y = torch.randint(256, (3, 40, sizes[0]), generator=rng), torch.randint(sizes[-1], (3, 40), generator=rng)
    scale, shift = ((torch.rand(sizes[0], generator=rng) * size).to(dtype) for size in (0.01, 1))
    x = x.to(torch.uint8)
    counts = torch.tensor([40, 7, 31])
    return Minibatches(stack, x, y, counts, batch, 3, scale, shift) if coded else Minibatches(
        stack, x.to(dtype) * scale + shift, y, counts, batch, 3
    )  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("batch", [1, 16, 50])
@pytest.mark.parametrize("sizes", [(3, 4, 2), (37, 20, 18, 5), (64, 33, 21)])
def test_all_rows(sizes, batch, coded, dtype):
    trained = problem(sizes, batch, coded, dtype)
    exact = problem(sizes, batch, coded)
    losses, grad = exact.gradient(exact.theta)
    got_losses, got = cpp.evaluate(trained, trained.theta, gradient=True)
    assert (got - grad).norm() <= TOLERANCE[dtype] * grad.norm()
    assert ((got_losses - losses).abs() <= TOLERANCE[dtype] * (1 + losses)).all()


@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("batch", [1, 13, 100])
def test_trajectory(batch, coded, monkeypatch):
    """The plain reference, step by step, draws the same rows; it is held to torch.optim in `test_kernels_training`."""
    trained, runs = problem(batch=batch, coded=coded), {}
    rate = torch.tensor([1e-3, 3e-3, 1e-2], dtype=torch.float64)
    for engine in ("torch", "cpp"):
        monkeypatch.setenv("BLACKBOX_ENGINE", engine)
        runs[engine] = train(trained, Adam(rate, clip=1.0), 30, at=[11])
    torch.testing.assert_close(runs["cpp"].problem.theta, runs["torch"].problem.theta, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(runs["cpp"].losses, runs["torch"].losses, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("reader")
def test_bad_input():
    good = problem()
    for change, words in (
        ({"batch": 0}, "batch = 0: expected a whole number ≥ 1"),
        ({"scale": None}, "scale = None: expected a torch.Tensor"),
        ({"shift": good.shift[:3]}, r"shift = tensor of shape \(3,\): expected \(37,\)"),
        ({"x": good.x.double()}, "scale = a tensor: expected None for inputs that are no bytes"),
        ({"y": good.y[:, :3]}, r"y = torch.int64, shape \(3, 3\): expected int64, shape \(3, 40\)"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(good, **change)
