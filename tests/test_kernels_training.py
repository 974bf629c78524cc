"""The training loop, the optimisers' input, stacks, power-law fits and Levenberg-Marquardt."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.kernels.exponents import exponent, power
from lib.kernels.least_squares import by_autograd, by_differences, levenberg_marquardt
from lib.kernels.mlp import Regression, Stack, parameter_count, random_stack
from lib.kernels.optimisers import SGD, Adam, cosine, drops
from lib.kernels.problems import Differentiable
from lib.kernels.rnn import random_recurrent
from lib.kernels.training import schedule, train


def wave(members=2, dtype=torch.float32):
    x = torch.linspace(-1, 1, 9, dtype=dtype)[:, None]
    return Regression(random_stack(((members, (1, 4, 1)),), seed=0, dtype=dtype), x, x.sin())


# --- the loop -------------------------------------------------------------------------------------------------------


def test_records():
    seen = []
    run = train(wave(3), Adam(1e-2), 10, at=[0, 4, 10], record=lambda step, model: seen.append(step) or model.losses())
    assert run.steps.tolist() == seen == [0, 4, 10]
    assert run.losses.shape == (3, 3)
    torch.testing.assert_close(torch.stack(run.records), run.losses)


def test_everyone_finishes():
    run = train(wave(3), Adam(1e-2), 10, at=[2, 5], finished=lambda losses: torch.ones(3, dtype=torch.bool))
    assert torch.equal(run.losses[0], run.losses[2])
    torch.testing.assert_close(run.problem.losses(), run.losses[0])


def test_differentiable_equals_regression():
    problem = wave(2, torch.float64)
    (w1, b1), (w2, b2) = problem.stack.layers()[0]

    def loss(p, members, step):
        h = torch.nn.functional.silu(torch.baddbmm(p["b1"][:, None], problem.x.expand(len(members), -1, -1), p["w1"].mT))
        out = torch.baddbmm(p["b2"][:, None], h, p["w2"].mT)
        return (out - problem.y).square().mean((1, 2))

    parameters = {name: t.clone() for name, t in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2))}
    run = train(Differentiable(loss, parameters), Adam(1e-2, clip=1.0), 20, at=[0])
    torch.testing.assert_close(run.losses, train(problem, Adam(1e-2, clip=1.0), 20, at=[0]).losses, rtol=1e-10, atol=0)


def test_a_rate_for_each_parameter():
    problem = wave(2)
    rate = torch.zeros(problem.theta.numel())
    rate[5] = 0.1
    moved = train(problem, SGD(rate), 3).problem.theta != problem.theta
    assert moved.nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: train(wave(), Adam(), 0), "steps = 0: expected a whole number ≥ 1"),
        (lambda: train(wave(), Adam(), 5, at=[6]), r"at\[1\] = 6: expected a whole number ≥ 0 and ≤ 5"),
        (lambda: train(wave(), Adam(torch.ones(3)), 5), r"rate = tensor of shape \(3,\): expected \(2,\) or \(26,\)"),
        (lambda: Adam(-1.0), "rate = -1.0: expected a finite number ≥ 0"),
        (lambda: Adam(torch.tensor([1.0, -2.0])), "rate = -2.0 in a tensor: expected values ≥ 0"),
        (lambda: Adam(torch.tensor([float("nan")])), "rate = .*: expected finite values, found nan"),
        (lambda: SGD(decay=float("inf")), "decay = inf: expected a finite number ≥ 0"),
        (lambda: SGD(clip=0.0), "clip = 0.0: expected a finite number > 0"),
        (lambda: Differentiable(None, {"a": torch.ones(2), "b": torch.ones(3)}), "parameters = members .*: expected"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_bad_settings(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_schedules():
    half = cosine(100, last=0.2)
    assert half(0) == 1
    assert half(50) == pytest.approx(0.6)
    assert half(100) == half(200) == pytest.approx(0.2)
    assert [drops(9)(t) for t in (0, 3, 6)] == pytest.approx([1, 0.1, 0.01])
    steps = schedule(1000, 20)
    assert steps[0] == 0
    assert steps[-1] == 1000
    assert steps == sorted(set(steps))


# --- stacks ---------------------------------------------------------------------------------------------------------


@given(widths=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=4), data=st.data())
@settings(deadline=None, max_examples=25)
def test_select_keeps_the_functions(widths, data):
    stack = random_stack([(members, (2, width, 3)) for members, width in widths], seed=1)
    keep = data.draw(st.lists(st.integers(0, stack.members - 1), min_size=1, unique=True).map(sorted))
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stack.select(torch.tensor(keep))(x), stack(x)[keep])
    assert int(stack.sizes.sum()) == stack.theta.numel()


def test_random_stack_is_pytorchs_default():
    stack = random_stack(((200, (4, 9, 1)),), seed=0)
    for (W, b), fan_in in zip(stack.layers()[0], (4, 9), strict=True):
        for values in (W, b):
            assert values.abs().max() <= fan_in**-0.5
            assert values.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)
    tiny = random_stack(((3, (1, 4, 1)),), seed=0, scale=1e-3)
    assert tiny.theta.abs().max() <= 1e-3
    assert not tiny.layers()[0][-1][1].any()


@given(members=st.integers(-2, 3), sizes=st.lists(st.integers(-1, 5), max_size=4), extra=st.integers(-1, 1))
@settings(deadline=None)
def test_only_true_shapes_make_a_stack(members, sizes, extra):
    true = members >= 1 and len(sizes) >= 2 and min(sizes) >= 1
    total = members * parameter_count(sizes) if true else 7
    if true and extra == 0:
        assert Stack(torch.ones(total), ((members, tuple(sizes)),)).members == members
    else:
        with pytest.raises(ValueError, match=r"(members|sizes|theta).* = .*: expected"):
            Stack(torch.ones(max(total + extra, 1)), ((members, tuple(sizes)),))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.ones(9, 2)}, r"x = tensor of shape \(9, 2\): expected \(P, 1\) or \(2, P, 1\)"),
        ({"x": torch.ones(3, 9, 1)}, r"x = tensor of shape \(3, 9, 1\): expected"),
        ({"x": torch.ones(9, 1).double()}, "x = .*float64.*: expected torch.float32 on cpu"),
        ({"x": torch.full((9, 1), float("inf"))}, "x = .*: expected finite values, found inf"),
        ({"x": torch.ones(0, 1)}, "x = .*: expected at least one element"),
        ({"y": torch.ones(8, 1)}, r"y = tensor of shape \(8, 1\): expected \(9, 1\) or \(2, 9, 1\)"),
        ({"weight": torch.ones(3)}, r"weight = tensor of shape \(3,\): expected \(9,\) or \(2, 9\)"),
        ({"loss": "hinge"}, "loss = 'hinge': expected one of bce, cross_entropy, log, mse"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_bad_data(change, words):
    good = wave()
    with pytest.raises(ValueError, match=words):
        Regression(**{"stack": good.stack, "x": good.x, "y": good.y, **change})


# --- fits -----------------------------------------------------------------------------------------------------------


def test_levenberg_marquardt_finds_the_minimum():
    """Rosenbrock's valley from many starts: minimum 0 at (1, 1)."""
    starts = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    found, cost = levenberg_marquardt(lambda p: torch.stack([1 - p[0], 10 * (p[1] - p[0] ** 2)]), starts, 200)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=1e-8, atol=1e-8)
    assert (cost < 1e-16).all()


def test_levenberg_marquardt_is_least_squares_on_a_line():
    draw = torch.Generator().manual_seed(1)
    A, b = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((12, 3), (12,)))
    found, cost = levenberg_marquardt(lambda p: A @ p - b, torch.randn(4, 3, generator=draw, dtype=torch.float64), 50)
    best = torch.linalg.lstsq(A, b[:, None]).solution[:, 0]
    torch.testing.assert_close(found, best.expand(4, -1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(cost, (A @ best - b).square().sum().expand(4))


@given(seed=st.integers(0, 999), iterations=st.integers(1, 6))
@settings(deadline=None, max_examples=20)
def test_levenberg_marquardt_never_rises(seed, iterations):
    start = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3

    def residuals(p):
        return torch.stack([p[0] * p[1] - 1, torch.sin(3 * p[1]) + p[2], p[2] ** 3 - p[0], 0.1 * p[0]])

    _, cost = levenberg_marquardt(residuals, start, iterations)
    assert (cost <= torch.func.vmap(residuals)(start).square().sum(1)).all()


def recurrent(members):
    """Residuals of a recurrent network that nearly counts, one member's, and starts near the solution, (members, p)."""
    stack = random_recurrent(members, (3, 2), (2, 1), seed=0, dtype=torch.float64)
    exact = torch.tensor([1.0, 0, 1, 0, 0.5, 1, 0, 0, 2, 0, 0], dtype=torch.float64)
    x = torch.randn(6, 5, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    one = stack.select(torch.tensor([0]))
    y = replace(one, theta=exact)(x)[0]
    near = exact + 0.05 * stack.theta.view(members, -1)
    return lambda theta: (replace(one, theta=theta)(x)[0] - y).flatten(), near


@pytest.mark.parametrize("jacobian", [by_autograd, by_differences])
def test_levenberg_marquardt_polishes_a_recurrent_network(jacobian):
    residuals, start = recurrent(3)
    before = torch.func.vmap(residuals)(start).square().sum(1)
    _, cost = levenberg_marquardt(residuals, start, 30, jacobian=jacobian)
    assert (before > 1e-4).all()
    assert (cost < 1e-16).all()


def test_a_jacobian_by_differences_is_that_of_autograd():
    residuals, theta = recurrent(3)
    torch.testing.assert_close(by_differences(residuals, theta), by_autograd(residuals, theta), rtol=1e-5, atol=1e-6)


def test_levenberg_marquardt_rests():
    """With `least` 1 every member stays where its first step that helps has brought it, whatever the others do."""
    residuals, start = recurrent(3)
    start = start * torch.tensor([[1.0], [-20.0], [300.0]])  # some need more damping first
    before, found = torch.func.vmap(residuals)(start).square().sum(1), torch.full_like(start, float("nan"))
    for iterations in range(1, 20):
        theta, cost = levenberg_marquardt(residuals, start, iterations)
        first = found.isnan().all(1) & (cost < before)
        found[first] = theta[first]
    assert torch.equal(levenberg_marquardt(residuals, start, 20, least=1.0)[0], found)


def power_law(alpha, seeds, noise, draw):
    sizes = torch.tensor([4.0, 8, 16, 32, 64])
    return sizes, sizes[:, None] ** -alpha * torch.exp(noise * torch.randn(5, seeds, generator=draw))


def test_exponent_of_an_exact_power_law():
    assert exponent(*power_law(1.7, 5, 0.0, torch.Generator()), draws=50) == pytest.approx((1.7,) * 3, abs=1e-5)


def test_exponent_interval_covers():
    """A 90 % interval holds the truth in about 90 % of 200 fits; bootstraps of medians are known to be a little off."""
    draw = torch.Generator().manual_seed(0)
    fits = [exponent(*power_law(1.0, 25, 0.4, draw), draws=200, level=0.9) for _ in range(200)]
    covered = sum(low <= 1.0 <= high for _, low, high in fits) / len(fits)
    assert 0.82 <= covered <= 0.98
    assert torch.tensor([alpha for alpha, _, _ in fits]).mean().item() == pytest.approx(1.0, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.integers(2, 6), st.integers(2, 5))
def test_power_recovers_an_exact_law(alpha, cells, seeds):
    x = torch.arange(1, cells + 1, dtype=torch.float64)
    y = (3 * x**-alpha)[:, None].expand(-1, seeds)
    assert power(x, y, draws=10) == pytest.approx((alpha,) * 3, abs=1e-9)


def test_power_interval_covers_the_truth():
    draw, hits = torch.Generator().manual_seed(0), 0
    x = 2.0 ** torch.arange(6)
    for i in range(40):
        y = x[:, None] ** -1.0 * torch.exp(0.3 * torch.randn(6, 16, generator=draw))
        _, low, high = power(x, y, draws=200, seed=i)
        hits += low <= 1 <= high
    assert hits >= 33


@pytest.mark.parametrize(
    ("x", "y", "words"), [([1.0, 2.0], [[1.0, -1.0], [1.0, 1.0]], "positive"), ([1.0], [[1.0, 1.0]], "K ≥ 2")]
)
@pytest.mark.usefixtures("reader")
def test_power_refuses(x, y, words):
    with pytest.raises(ValueError, match=words):
        power(torch.tensor(x), torch.tensor(y))


@pytest.mark.parametrize(
    ("sizes", "losses", "words"),
    [
        ([1.0, 1.0], [[1.0], [1.0]], "sizes = .*: expected 2 positive numbers, two of them different"),
        ([1.0, -1.0], [[1.0], [1.0]], "sizes = .*: expected 2 positive numbers"),
        ([1.0, 2.0, 3.0], [[1.0], [1.0]], "sizes = .*: expected 2 positive numbers"),
        ([1.0, 2.0], [[1.0], [0.0]], "losses = 0.0 at least: expected values > 0"),
        ([1.0, 2.0], [1.0, 1.0], "losses = .*: expected 2 dimensions"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_exponent_refuses(sizes, losses, words):
    with pytest.raises(ValueError, match=words):
        exponent(torch.tensor(sizes), torch.tensor(losses))
