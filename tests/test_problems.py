"""One suite for everything that `train` runs: gradients, stacks, selections and draws of every implementer of `Problem`."""

import functools
from dataclasses import fields

import pytest
import torch

from lib.kernels.embedding import Embedded
from lib.kernels.mlp import Minibatches, Regression, random_stack
from lib.kernels.optimisers import Adam
from lib.kernels.problems import Differentiable, Problem, Stacked
from lib.kernels.rate import Packed, RateNetworks, RateTraining
from lib.kernels.rnn import Sequences, random_recurrent
from lib.kernels.training import train
from lib.papers import geneft, resource
from lib.papers.grokking.model import Straightened
from lib.papers.hypernetworks import generator, training
from lib.papers.truth import llama


def draw(seed):
    return torch.Generator().manual_seed(seed)


def regression(loss, weight=False):
    """Networks of two shapes, with inputs and targets of their own."""
    stack = random_stack([(2, (2, 5, 3)), (1, (2, 4, 6, 3))], "gelu", seed=0, dtype=torch.float64)
    x, y = torch.randn(3, 11, 2, generator=draw(1)).double(), torch.rand(3, 11, 3, generator=draw(2)).double()
    y = torch.randint(3, (3, 11), generator=draw(2)) if loss == "cross_entropy" else y
    return Regression(stack, x, y, loss, torch.rand(3, 11, generator=draw(3)).double() if weight else None)


def sequences(loss, batch):
    x = torch.randn(9, 5, 2, generator=draw(2)).double()
    stack = random_recurrent(3, (5, 6, 3), (3, 4, 2), "tanh", seed=4, dtype=torch.float64)
    return Sequences(stack, x, x.cumsum(1), loss, batch, seed=3)


def minibatches():
    stack = random_stack([(3, (4, 5, 3))], "tanh", seed=0, dtype=torch.float64)
    x, y = torch.randint(256, (3, 12, 4), generator=draw(1)), torch.randint(3, (3, 12), generator=draw(2))
    scale, shift = (torch.linspace(*ends, 4, dtype=torch.float64) for ends in ((0.003, 0.005), (-1, 0)))
    return Minibatches(stack, x.to(torch.uint8), y, torch.tensor([12, 7, 9]), 4, 5, scale, shift)


def rates():
    """Trials of lengths 3, 2, 2 and 1 with noise, a price that changes and some parameters held still."""

    def trials(step):
        rng = draw(8 if step is None else 9 + step)
        x, noise = torch.randn(8, 2, generator=rng).double(), torch.randn(8, 5, generator=rng).double()
        return Packed(x, torch.randint(3, (8,), generator=rng), [4, 3, 1], noise)

    theta, chance = (torch.randn(3, 5 * 8 + 3 * 6, generator=draw(seed)).double() for seed in (10, 11))
    price, free = 0.01 * chance.abs(), (chance > -1).double()
    return RateTraining(
        RateNetworks(theta, 5, 2, 3), trials, price, lambda step: 1.0 if step is None else 1 / (1 + step), free
    )


def embedded():
    """Points of their own, decoders of two shapes, the second member with fewer pairs."""
    theta = torch.randn(3 * 10 + 2 * 23 + 27, generator=draw(12)).double() / 2
    pairs, y = torch.randint(5, (3, 8, 2), generator=draw(13)), torch.randint(2, (3, 8), generator=draw(14))
    weight = torch.ones(3, 8).double() / 8
    weight[1, 5:] = 0
    return Embedded(theta, 5, 2, ((2, (4, 3, 2)), (1, (4, 2, 3, 2))), pairs, y, weight)


def straightened():
    """Four tokens on a plane, decoders of two hidden layers, all for the same pairs, pushed to be straight."""
    theta = torch.randn(3 * (4 * 2 + 25 + 30 + 24), generator=draw(15)).double() / 2
    pairs, y = torch.randint(4, (3, 8, 2), generator=draw(16)), torch.randint(4, (3, 8), generator=draw(17))
    learns = Embedded(theta, 4, 2, ((3, (4, 5, 5, 4)),), pairs, y, torch.ones(3, 8).double() / 8)
    return Straightened(learns, 0.1, 6, 4, 50)


def lasso():
    """Networks of one shape that pay for the size of their parameters."""
    stack = random_stack([(3, (1, 5, 1))], seed=6, dtype=torch.float64)
    x, y = torch.randn(7, 1, generator=draw(18)).double(), torch.randn(7, 1, generator=draw(19)).double()
    return resource._Lasso(stack, x, y, weight=torch.rand(3, 7, generator=draw(20)).double())


def differentiable():
    """Cubic polynomials through each member's own points; minimised on some of them."""
    targets = torch.randn(3, 8, generator=draw(6)).double()

    def loss(parameters, members, step):
        x = torch.linspace(-1, 1, 8, dtype=torch.float64)
        chosen = slice(None) if step is None else torch.randint(8, (5,), generator=draw(step))
        f = sum(parameters["c"][:, [k]] * x**k for k in range(4)) * parameters["scale"][:, None]
        return (f - targets[members]).square()[:, chosen].mean(1)

    c = torch.randn(3, 4, generator=draw(7)).double()
    return Differentiable(loss, {"c": c, "scale": torch.tensor([1.0, -0.7, 1.3], dtype=torch.float64)})


def autoencoder(mode, loss):
    options = {"widths": [5, 3, 4], "depth": 2, "mode": mode, "loss": loss, "dtype": torch.float64}
    return geneft.students(["equal mod 3"] * 3, [0.3, 0.5, 0.4], [1, 2, 3], **options)


def toys():
    theta = llama.initial([4, 5, 6]).flatten().double()
    return llama.Toys(theta, [4, 5, 6], 3, 16, torch.tensor([-100.0, float("inf"), 2.0]))


def hypernetwork():
    recipe = training.Recipe(3, 40, (3, 4), seed=2)
    start = {name: t.double() for name, t in generator.initial(3, torch.tensor([0.0, 1.5, 3.0])).items()}
    return Differentiable(functools.partial(training.objective, recipe), start)


PROBLEMS = {
    **{f"regression, {loss}": functools.partial(regression, loss) for loss in ("mse", "bce", "cross_entropy", "log")},
    "regression, weighted": functools.partial(regression, "mse", weight=True),
    "minibatches": minibatches,
    "sequences": functools.partial(sequences, "mse", None),
    "sequences in minibatches": functools.partial(sequences, "log", 6),
    "rates": rates,
    "embedded": embedded,
    "straightened": straightened,
    "lasso": lasso,
    "differentiable": differentiable,
    "autoencoder, concatenation": functools.partial(autoencoder, "concatenation", "bce"),
    "autoencoder, difference": functools.partial(autoencoder, "difference", "mse"),
    "autoencoder, squared": functools.partial(autoencoder, "squared difference", "bce"),
    "toys": toys,
    "hypernetworks": hypernetwork,
}


@pytest.fixture(params=PROBLEMS)
def problem(request, monkeypatch):
    monkeypatch.setenv("BLACKBOX_ENGINE", "torch")  # `test_kernels_fused` holds the others to it
    return PROBLEMS[request.param]()


def spans(problem):
    """Where each member's parameters lie."""
    ends = problem.sizes.cumsum(0).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def alone(problem, member):
    return problem.select(torch.tensor([member]))


def test_every_implementer_is_here():
    known, asked = set(), [Problem]
    while asked:
        asked += (subclasses := asked.pop().__subclasses__())
        known |= set(subclasses)
    known = {kind for kind in known - {Stacked} if kind.__module__.startswith("lib.")}
    assert {type(make()) for make in PROBLEMS.values()} == known


def test_packed_parameters(problem):
    assert problem.theta.shape == (int(problem.sizes.sum()),)
    other = problem.theta + torch.arange(len(problem.theta))
    moved = problem.with_theta(other)
    assert torch.equal(moved.theta, other)
    assert type(moved) is type(problem)
    assert not torch.equal(problem.theta, other)


@pytest.mark.parametrize("step", [None, 0, 3])
def test_gradient_is_that_of_autograd(problem, step):
    theta = problem.theta.clone().requires_grad_()
    losses = problem.with_theta(theta).losses(step)
    assert losses.dtype == torch.float64
    assert losses.shape == problem.sizes.shape
    grad = torch.autograd.grad(losses.sum(), theta)[0]
    assert (grad != 0).any()
    found = problem.gradient(problem.theta, step)
    torch.testing.assert_close(found[0], losses.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1], grad, rtol=1e-8, atol=1e-10 * float(grad.abs().max()))


@pytest.mark.parametrize("step", [None, 2])
def test_select_is_the_member_alone(problem, step):
    losses, grad = problem.gradient(problem.theta, step)
    for member, span in enumerate(spans(problem)):
        one = alone(problem, member)
        assert torch.equal(one.theta, problem.theta[span])
        loss, slope = one.gradient(one.theta, step)
        torch.testing.assert_close(loss[0], losses[member], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(slope, grad[span], rtol=1e-7, atol=1e-10 * float(grad.abs().max()))
    pair = problem.select(torch.tensor([0, 2]))
    torch.testing.assert_close(pair.losses(step), problem.losses(step)[[0, 2]], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(alone(pair, 1).losses(step)[0], losses[2], rtol=1e-9, atol=1e-12)


def test_members_equal_separate_runs(problem):
    together = train(problem, Adam(1e-2, clip=1.0), 4, at=[2])
    for member, span in enumerate(spans(problem)):
        run = train(alone(problem, member), Adam(1e-2, clip=1.0), 4, at=[2])
        torch.testing.assert_close(run.losses[:, 0], together.losses[:, member], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(run.problem.theta, together.problem.theta[span], rtol=1e-6, atol=1e-8)


def test_a_draw_depends_on_its_step_alone(problem):
    """Whatever was drawn before: other steps, a record, the same step."""
    first = problem.losses(5)
    for step in (0, None, 7, 5):
        problem.gradient(problem.theta, step)
    assert torch.equal(problem.losses(5), first)
    assert torch.equal(problem.losses(), problem.losses())


def test_training_leaves_the_problem_as_it_was(problem):
    before = {f.name: getattr(problem, f.name) for f in fields(problem)}
    theta = problem.theta.clone()
    run = train(problem, Adam(1e-2), 3)
    assert not torch.equal(run.problem.theta, theta)
    assert torch.equal(problem.theta, theta)
    assert all(getattr(problem, name) is value for name, value in before.items())
