"""Rate networks: gradient, engines and trajectories against autograd and torch.optim."""

from dataclasses import replace

import pytest
import torch

from lib.kernels import engines
from lib.kernels.fused import build, cpp
from lib.kernels.optimisers import SGD, Adam, State
from lib.kernels.rate import Packed, RateNetworks, RateTraining

needs_compiler = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
UPDATES = 12


def packed(draw, inputs, outputs, units, dtype, trials=21, longest=6, noise=True):
    length = torch.randint(2, longest + 1, (trials,), generator=draw)
    counts = [int((length > t).sum()) for t in range(int(length.max()))]
    rows = sum(counts)
    x, shake = (torch.randn(rows, n, generator=draw, dtype=dtype) for n in (inputs, units))
    return Packed(x, torch.randint(outputs, (rows,), generator=draw), counts, 0.3 * shake if noise else None)


def problem(units=10, inputs=5, outputs=3, members=3, dtype=torch.float64, noise=True, start=0, price=True):
    """Random networks, trials, prices and a mask; nothing is zero but what the mask holds still."""
    draw = torch.Generator().manual_seed(1)
    trials = [packed(draw, inputs, outputs, units, dtype, noise=noise) for _ in range(UPDATES)]
    count = units * (units + inputs + 1) + outputs * (units + 1)
    theta, prices, chance = (torch.randn(members, count, generator=draw, dtype=dtype) for _ in range(3))
    stack = RateNetworks(theta * units**-0.5, units, inputs, outputs)
    if not price:
        return RateTraining(stack, trials, start)
    return RateTraining(stack, trials, start, 0.01 * prices.abs(), lambda t: 1 / (1 + t), (chance > -1).to(dtype))


def reference(problem):
    """Losses and gradient of the first update by autograd in float64."""
    double = {n: v if v is None else v.double() for n, v in (("price", problem.price), ("free", problem.free))}
    now = problem.trials[0]
    now = replace(now, x=now.x.double(), noise=now.noise if now.noise is None else now.noise.double())
    theta = problem.stack.theta.double().clone().requires_grad_()
    losses = replace(problem, stack=replace(problem.stack, theta=theta), trials=[now], **double).losses()
    return losses.detach(), torch.autograd.grad(losses.sum(), theta)[0].view(-1)


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("noise", "price"), [(True, True), (False, False)])
@pytest.mark.parametrize("sizes", [(10, 5, 3), (17, 1, 20), (33, 40, 2)])
def test_gradient(sizes, noise, price, dtype):
    trained = problem(*sizes, dtype=dtype, noise=noise, price=price)
    losses, grad = reference(trained)
    for path in (lambda: trained.gradient(trained.theta), lambda: cpp.evaluate(trained, trained.theta, gradient=True)):
        got_losses, got = path()
        assert (got - grad).norm() <= TOLERANCE[dtype] * grad.norm()
        assert ((got_losses - losses).abs() <= TOLERANCE[dtype] * (1 + losses.abs())).all()


@pytest.mark.parametrize("optimiser", [Adam(1e-2, clip=0.3, schedule=lambda t: 0.9**t), SGD(0.05, decay=0.1)])
@pytest.mark.parametrize("engine", ["torch", pytest.param("cpp", marks=needs_compiler)])
def test_trajectory(engine, optimiser, monkeypatch):
    """Members together, in two legs, equal each alone by autograd and torch.optim."""
    monkeypatch.setenv("BLACKBOX_ENGINE", engine)
    trained = problem()
    state = State(optimiser, trained.theta.clone(), trained.sizes)
    engines.advance(trained, state, 4)
    engines.advance(replace(trained, trials=trained.trials[4:], start=4), state, UPDATES - 4)
    for member in range(3):
        theta = torch.nn.Parameter(trained.stack.theta[[member]].clone())
        kind = torch.optim.Adam if isinstance(optimiser, Adam) else torch.optim.SGD
        steer = kind([theta], lr=optimiser.rate, weight_decay=optimiser.decay)
        for k in range(UPDATES):
            alone = replace(trained, trials=trained.trials[k:], start=k).select(torch.tensor([member]))
            steer.param_groups[0]["lr"] = optimiser.rate * optimiser.factor(k)
            steer.zero_grad()
            alone.with_theta(theta.view(-1)).losses().sum().backward()
            if optimiser.clip:
                torch.nn.utils.clip_grad_norm_([theta], optimiser.clip)
            steer.step()
        assert (state.theta.view(3, -1)[member] - theta.detach()[0]).norm() <= 1e-9 * theta.norm()


def test_bad_input():
    good = problem()
    trials = good.trials[0]
    for make, words in (
        (lambda: replace(good, trials=[]), "expected those of one update at least"),
        (lambda: replace(good, price=good.price[:2]), r"price = tensor of shape \(2, .*: expected \(3, "),
        (lambda: replace(trials, counts=trials.counts[::-1]), r"counts = \[.*: expected numbers that never grow and sum to"),
        (lambda: replace(trials, y=trials.y[1:]), "expected .* rows, as x has"),
        (lambda: RateNetworks(good.stack.theta, 9, 5, 3), r"theta = tensor of shape \(3, 193\): expected"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
