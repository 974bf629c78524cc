"""The Triton kernel, through Triton's interpreter, against the reference."""

import os
from dataclasses import replace

import pytest
import torch

from lib.kernels import engines
from lib.kernels.mlp import ACTIVATIONS, Regression, random_stack
from lib.kernels.optimisers import SGD, Adam, AdamW
from lib.kernels.training import train

os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
pytest.importorskip("triton")
from lib.kernels.fused import triton_mlp

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def problem(loss="mse", activation="silu", dtype=torch.float64, groups=((1, (2, 5, 3)), (1, (2, 7, 3)))):
    draw = torch.Generator().manual_seed(1)
    stack = random_stack(groups, activation, seed=0, dtype=dtype)
    x = torch.randn(stack.members, 11, 2, generator=draw, dtype=dtype)
    y = torch.rand(11, 3, generator=draw, dtype=dtype)
    y = torch.randint(3, (stack.members, 11), generator=draw) if loss == "cross_entropy" else y
    weight = torch.rand(11, generator=draw, dtype=dtype)
    return Regression(stack, x, y, loss, weight / weight.sum())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", ["mse", "bce", "cross_entropy"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient(activation, loss, dtype):
    here = problem(loss, activation, dtype)
    exact = problem(loss, activation)
    theta = here.theta.double().clone().requires_grad_()
    data = {"x": here.x.double(), "y": here.y.double() if here.y.is_floating_point() else here.y}
    exact = replace(exact, stack=replace(exact.stack, theta=theta), weight=here.weight.double(), **data)
    losses = exact.losses()
    grad = torch.autograd.grad(losses.sum(), theta)[0]
    got_losses, got = triton_mlp.evaluate(here, here.theta, gradient=True)
    assert (got - grad).norm() <= TOLERANCE[dtype] * grad.norm()
    assert ((got_losses - losses).abs() <= TOLERANCE[dtype] * (1 + losses.abs())).all()


RATES = torch.tensor([1e-3, 4e-3], dtype=torch.float64)


@pytest.mark.parametrize(
    ("optimiser", "steps"),
    [
        (Adam(RATES, decay=RATES * 3, clip=0.2, schedule=lambda t: 0.99**t), 200),
        (AdamW(RATES, decay=0.1, betas=(0.8, 0.99)), 20),
        (SGD(0.05, decay=RATES), 20),
        (SGD(RATES, momentum=0.9, clip=0.5), 20),
    ],
)
def test_trajectory(optimiser, steps, monkeypatch):
    runs = {}
    for name in ("torch", "triton"):
        monkeypatch.setenv("BLACKBOX_ENGINE", name)
        runs[name] = train(problem(), optimiser, steps, at=[0, 7])
    assert (runs["triton"].model.theta - runs["torch"].model.theta).norm() <= 1e-9 * runs["torch"].model.theta.norm()
    torch.testing.assert_close(runs["triton"].losses, runs["torch"].losses, rtol=1e-9, atol=1e-12)


def test_what_it_refuses(monkeypatch):
    monkeypatch.setenv("BLACKBOX_ENGINE", "triton")
    for groups in (((1, (2, 4, 4, 3)),), ((1, (2, 1 << 14, 3)),)):
        with pytest.raises(ValueError, match="BLACKBOX_ENGINE = 'triton': expected a model that it can train"):
            engines.engine(problem(groups=groups), Adam())
