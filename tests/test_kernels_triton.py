"""The Triton kernels, through Triton's interpreter, against the reference."""

import os
from dataclasses import replace

import pytest
import torch

from lib.kernels import engines
from lib.kernels.mlp import Regression, random_stack
from lib.kernels.optimisers import SGD, Adam, AdamW, Optimiser
from lib.kernels.problems import ACTIVATIONS
from lib.kernels.rnn import Sequences, random_recurrent
from lib.kernels.training import train

os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
pytest.importorskip("triton")
from lib.kernels.fused import triton_kernels


def regression(loss="mse", activation="silu", groups=((1, (2, 5, 3)), (1, (2, 7, 4, 3))), points=11, dtype=torch.float32):
    """A problem with random, non-zero data; targets shared except for classes, inputs and weights each member's own."""
    draw = torch.Generator().manual_seed(1)
    stack = random_stack(groups, activation, seed=0, dtype=dtype)
    x = torch.randn(stack.members, points, 2, generator=draw, dtype=dtype)
    y = torch.rand(points, 3, generator=draw, dtype=dtype)
    y = torch.randint(3, (stack.members, points), generator=draw) if loss == "cross_entropy" else y
    weight = torch.rand(stack.members, points, generator=draw, dtype=dtype)
    weight = weight * (torch.arange(points) != 3)  # a masked point
    return Regression(stack, x, y, loss, weight / weight.sum(1, keepdim=True))


def sequences(transition=(5, 6, 3), readout=(3, 4, 2), activation="tanh", loss="log", count=9, dtype=torch.float32, **more):
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(count, 4, transition[0] - transition[-1], generator=draw, dtype=dtype)
    y = x.cumsum(1).mean(2, keepdim=True).expand(-1, -1, readout[-1])
    return Sequences(random_recurrent(2, transition, readout, activation, seed=4, dtype=dtype), x, y, loss, **more)


def in_double(problem):
    """The same problem in float64."""
    data = {k: t.double() for k, t in vars(problem).items() if isinstance(t, torch.Tensor) and t.is_floating_point()}
    return replace(problem, stack=replace(problem.stack, theta=problem.theta.double()), **data)


def assert_exact(problem):
    """Losses and gradient are those of autograd in float64."""
    exact = in_double(problem)
    theta = exact.theta.clone().requires_grad_()
    losses = exact.with_theta(theta).losses()
    grad = torch.autograd.grad(losses.sum(), theta)[0]
    got_losses, got = triton_kernels.evaluate(problem, problem.theta, gradient=True)
    assert (got - grad).norm() <= 1e-5 * grad.norm()
    assert ((got_losses - losses).abs() <= 1e-5 * (1 + losses.abs())).all()


@pytest.mark.parametrize("loss", ["mse", "bce", "cross_entropy"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_gradient(activation, loss):
    assert_exact(regression(loss, activation))


@pytest.mark.parametrize("groups", [((2, (2, 3)),), ((1, (2, 17, 5, 33, 3)), (1, (2, 1, 3)), (1, (2, 128, 3)))])
def test_mlp_gradient_of_other_shapes(groups):
    assert_exact(regression(groups=groups, points=70))


def test_mlp_gradient_over_blocks_of_points(monkeypatch):
    monkeypatch.setattr(triton_kernels, "TILE", 256)
    problem = regression(points=40)
    assert_exact(replace(problem, x=problem.x[0], weight=None))


@pytest.mark.parametrize("loss", ["log", "mse"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [((5, 3), (3, 2)), ((5, 6, 3), (3, 4, 2)), ((4, 6, 5, 3), (3, 4, 5, 1))])
def test_rnn_gradient(sizes, activation, loss):
    assert_exact(sequences(*sizes, activation, loss))


def test_rnn_gradient_over_blocks_of_sequences(monkeypatch):
    monkeypatch.setattr(triton_kernels, "TILE", 256)
    assert_exact(sequences(count=20))


def test_programs_share_members(monkeypatch):
    monkeypatch.setattr(triton_kernels, "PROGRAMS", 2)
    assert_exact(regression(groups=((5, (2, 4, 3)),)))


RATES = torch.tensor([1e-3, 4e-3])
OPTIMISERS = {
    "adam, all settings": Adam(RATES, decay=RATES * 3, clip=0.2, schedule=lambda t: 0.99**t),
    "adamw": AdamW(RATES, decay=0.1, betas=(0.8, 0.99)),
    "sgd": SGD(0.05, decay=RATES),
    "momentum": SGD(RATES, momentum=0.9, clip=0.5, schedule=lambda t: 1 / (1 + t)),
}


def assert_same_run(problem, optimiser, steps, monkeypatch):
    """The trajectory is that of plain torch in float64, and as it was when it is run again with other records."""
    monkeypatch.setenv("BLACKBOX_ENGINE", "torch")
    exact = train(in_double(problem), optimiser, steps, at=[0, 7])
    monkeypatch.setenv("BLACKBOX_ENGINE", "triton")
    run = train(problem, optimiser, steps, at=[0, 7])
    moved = (exact.problem.theta - problem.theta).norm()
    assert (run.problem.theta - exact.problem.theta).norm() <= 1e-4 * moved
    torch.testing.assert_close(run.losses.double(), exact.losses, rtol=1e-5, atol=1e-6)
    return run


@pytest.mark.parametrize(("name", "steps"), [(name, 60 if name.startswith("adam,") else 20) for name in OPTIMISERS])
def test_mlp_trajectory(name, steps, monkeypatch):
    assert_same_run(regression(), OPTIMISERS[name], steps, monkeypatch)


def test_rnn_trajectory_of_minibatches(monkeypatch):
    problem, optimiser = sequences(batch=6, seed=3), AdamW(RATES, decay=0.01, clip=0.5)
    run = assert_same_run(problem, optimiser, 8, monkeypatch)
    assert torch.equal(run.problem.theta, train(problem, optimiser, 8, at=[3]).problem.theta)


def test_members_equal_separate_runs(monkeypatch):
    monkeypatch.setenv("BLACKBOX_ENGINE", "triton")
    problem = regression()
    together = train(problem, Adam(1e-2), 10).problem
    alone = [train(problem.select(torch.tensor([member])), Adam(1e-2), 10).problem.theta for member in range(2)]
    assert torch.equal(together.theta, torch.cat(alone))


@pytest.mark.parametrize(
    "problem",
    [
        regression(groups=((1, (2, 4, 4, 4, 4, 3)),)),
        regression(groups=((1, (2, 129, 3)),)),
        regression(dtype=torch.float64),
        sequences(dtype=torch.float64),
    ],
)
@pytest.mark.usefixtures("reader")
def test_what_it_refuses(problem, monkeypatch):
    assert not triton_kernels.supports(problem, Adam())
    monkeypatch.setenv("BLACKBOX_ENGINE", "triton")
    with pytest.raises(ValueError, match="BLACKBOX_ENGINE = 'triton': expected a problem that it can train"):
        engines.engine(problem, Adam())


def test_unknown_optimisers_and_processors_are_refused(monkeypatch):
    assert not triton_kernels.supports(regression(), Optimiser())
    monkeypatch.setattr(triton_kernels.triton.knobs.runtime, "interpret", False)
    assert not triton_kernels.supports(regression(), Adam())
    monkeypatch.delenv("BLACKBOX_ENGINE", raising=False)
    assert engines.engine(regression(), Adam()) != "triton"


def test_without_triton(monkeypatch, capfd):
    """One line of notice, once, and plain torch."""
    monkeypatch.setitem(engines.FUSED, "triton", "nowhere")
    engines.fused.cache_clear()
    assert engines.fused("triton") is None
    assert engines.fused("triton") is None
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
    engines.fused.cache_clear()
