"""Rate networks: gradient, engines and trajectories against autograd and torch.optim."""

from dataclasses import replace

import pytest
import torch

from lib.kernels.fused import build, cpp
from lib.kernels.optimisers import SGD, Adam
from lib.kernels.rate import Packed, RateNetworks, RateTraining
from lib.kernels.training import train

needs_compiler = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
STEPS = 12


def problem(units=10, inputs=5, outputs=3, dtype=torch.float64, noise=True, price=True):
    """Three random networks, trials, prices and a mask; nothing is zero but what the mask holds still."""

    def draw(step):
        rng = torch.Generator().manual_seed(0 if step is None else 1 + step)
        length = torch.randint(2, 7, (21,), generator=rng)
        counts = [int((length > t).sum()) for t in range(int(length.max()))]
        x, shake = (torch.randn(sum(counts), n, generator=rng, dtype=dtype) for n in (inputs, units))
        y = torch.randint(outputs, (len(x),), generator=rng)
        return Packed(x, y, counts, 0.3 * shake if noise else None)

    rng, count = torch.Generator().manual_seed(1), units * (units + inputs + 1) + outputs * (units + 1)
    theta, prices, chance = (torch.randn(3, count, generator=rng, dtype=dtype) for _ in range(3))
    stack = RateNetworks(theta * units**-0.5, units, inputs, outputs)
    if not price:
        return RateTraining(stack, draw)
    factor = lambda step: 1.0 if step is None else 1 / (1 + step)  # noqa: E731
    return RateTraining(stack, draw, 0.01 * prices.abs(), factor, (chance > -1).to(dtype))


def reference(problem):
    """Losses and gradient by autograd in float64."""
    double = {n: v if v is None else v.double() for n, v in (("price", problem.price), ("free", problem.free))}
    now = problem.draw(None)
    now = replace(now, x=now.x.double(), noise=now.noise if now.noise is None else now.noise.double())
    theta = problem.stack.theta.double().clone().requires_grad_()
    losses = replace(problem, stack=replace(problem.stack, theta=theta), draw=lambda step: now, **double).losses()
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
    run = train(trained, optimiser, STEPS, at=[4])
    for member in range(3):
        alone = trained.select(torch.tensor([member]))
        theta = torch.nn.Parameter(alone.theta.clone())
        kind = torch.optim.Adam if isinstance(optimiser, Adam) else torch.optim.SGD
        steer = kind([theta], lr=optimiser.rate, weight_decay=optimiser.decay)
        for step in range(STEPS):
            steer.param_groups[0]["lr"] = optimiser.rate * optimiser.factor(step)
            steer.zero_grad()
            alone.with_theta(theta).losses(step).sum().backward()
            if optimiser.clip:
                torch.nn.utils.clip_grad_norm_([theta], optimiser.clip)
            steer.step()
        assert (run.problem.stack.theta[member] - theta.detach()).norm() <= 1e-9 * theta.norm()
        torch.testing.assert_close(run.losses[-1, member], alone.with_theta(theta.detach()).losses()[0])


@pytest.mark.usefixtures("reader")
def test_bad_input():
    good = problem()
    trials = good.draw(None)
    for make, words in (
        (lambda: replace(good, price=good.price[:2]), r"price = tensor of shape \(2, .*: expected \(3, "),
        (lambda: replace(trials, counts=trials.counts[::-1]), r"counts = \[.*: expected numbers that never grow and sum to"),
        (lambda: replace(trials, y=trials.y[1:]), "expected .* rows, as x has"),
        (lambda: RateNetworks(good.stack.theta, 9, 5, 3), r"theta = tensor of shape \(3, 193\): expected"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
