"""MLPs on learned points: gradient and trajectories against autograd and torch.optim."""

from dataclasses import replace

import pytest
import torch

from lib.kernels.embedding import MODES, Embedded
from lib.kernels.fused import build, cpp
from lib.kernels.mlp import parameter_count
from lib.kernels.optimisers import SGD, AdamW
from lib.kernels.training import train

needs_compiler = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def problem(
    mode="concatenation", loss="bce", hidden=((5, 6), (9,)), dim=3, outputs=2, activation="tanh", dtype=torch.float64
):
    """Two members a group, with 40, 33, … pairs; nothing is zero but the weights at the end of the shorter lists."""
    rng, tokens = torch.Generator().manual_seed(1), 7
    inputs = dim * (2 if mode == "concatenation" else 1)
    groups = tuple((2, (inputs, *widths, outputs)) for widths in hidden)
    members = 2 * len(groups)
    theta = torch.randn(sum(m * (tokens * dim + parameter_count(s)) for m, s in groups), generator=rng).to(dtype) / 2
    weight = torch.rand(members, 40, generator=rng) * (torch.arange(40) < 40 - 7 * torch.arange(members)[:, None])
    weight = (weight / weight.sum(1, keepdim=True)).to(dtype)
    pairs = torch.randint(tokens, (members, 40, 2), generator=rng)
    y = torch.rand(members, 40, outputs, generator=rng).to(dtype)
    y = torch.randint(outputs, (members, 40), generator=rng) if loss == "cross_entropy" else y
    return Embedded(theta, tokens, dim, groups, pairs, y, weight, activation, mode, loss)


def reference(problem):
    """Losses and gradient by autograd in float64."""
    double = {n: t.double() for n, t in vars(problem).items() if isinstance(t, torch.Tensor) and t.is_floating_point()}
    exact = replace(problem, **double)
    theta = exact.theta.clone().requires_grad_()
    losses = exact.with_theta(theta).losses()
    return losses.detach(), torch.autograd.grad(losses.sum(), theta)[0]


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", ["bce", "mse", "cross_entropy"])
@pytest.mark.parametrize(
    "shape", [{}, {"hidden": ((),), "dim": 2, "outputs": 1}, {"hidden": ((40, 20),), "dim": 33, "outputs": 5}]
)
@pytest.mark.parametrize("mode", MODES)
def test_gradient(mode, shape, loss, dtype):
    if loss == "cross_entropy" and shape.get("outputs") == 1:
        pytest.skip("one class only")
    trained = problem(mode, loss, **shape, dtype=dtype)
    losses, grad = reference(trained)
    got_losses, got = cpp.evaluate(trained, trained.theta, gradient=True)
    assert (got - grad).norm() <= TOLERANCE[dtype] * grad.norm()
    assert ((got_losses - losses).abs() <= TOLERANCE[dtype] * (1 + losses.abs())).all()


@pytest.mark.parametrize("engine", ["torch", pytest.param("cpp", marks=needs_compiler)])
@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_trajectory(engine, kind, monkeypatch):
    """Points and decoder with rates and decays of their own, each member against torch.optim."""
    monkeypatch.setenv("BLACKBOX_ENGINE", engine)
    trained = problem()
    points = torch.cat([torch.arange(n) < trained.tokens * trained.dim for n in trained.sizes.tolist()])
    points = points.double()
    rate, decay = (a * points + b * (1 - points) for a, b in ((0.02, 0.005), (0.0, 0.3)))
    run = train(trained, kind(rate, decay), 40, at=[9])
    for member in range(4):
        alone = trained.select(torch.tensor([member]))
        at = trained.tokens * trained.dim
        parts = [torch.nn.Parameter(alone.theta[:at].clone()), torch.nn.Parameter(alone.theta[at:].clone())]
        settings = [
            {"params": p, "lr": r, "weight_decay": d} for p, r, d in zip(parts, (0.02, 0.005), (0.0, 0.3), strict=True)
        ]
        steer = (torch.optim.AdamW if kind is AdamW else torch.optim.SGD)(settings)
        for _ in range(40):
            steer.zero_grad()
            alone.with_theta(torch.cat(parts)).losses().sum().backward()
            steer.step()
        start = int(trained.sizes[:member].sum())
        theta = torch.cat(parts).detach()
        assert (run.problem.theta[start : start + len(theta)] - theta).norm() <= 1e-9 * theta.norm()
        torch.testing.assert_close(run.losses[-1, member], alone.with_theta(theta).losses()[0], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("reader")
def test_bad_input():
    good = problem()
    for change, words in (
        ({"mode": "product"}, "mode = 'product': expected one of"),
        ({"pairs": good.pairs + 1}, r"pairs = torch.int64, shape \(4, 40, 2\), from 1 to 7: expected"),
        ({"groups": good.groups[:1]}, "groups = .*: expected 4 members with 6 inputs"),
        ({"theta": good.theta[1:]}, r"theta = tensor of shape \(.*\): expected"),
        ({"y": good.y[:, 1:]}, "y, weight = tensors of shape"),
        ({"weight": good.weight.float()}, "weight = .*float32.*: expected torch.float64"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(good, **change)
