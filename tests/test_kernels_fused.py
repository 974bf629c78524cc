"""Fused kernels against plain references: gradients, trajectories, the build, the fallback."""

import functools
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.kernels import engines
from lib.kernels.fused import build, cpp
from lib.kernels.mlp import Regression, Stack, random_stack
from lib.kernels.optimisers import SGD, Adam, AdamW, Optimiser
from lib.kernels.problems import ACTIVATIONS, Differentiable
from lib.kernels.rnn import Recurrent, Sequences, random_recurrent
from lib.kernels.training import train

needs_compiler = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")


TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def regression(loss="mse", activation="silu", groups=((2, (2, 5, 3)), (3, (2, 7, 4, 3))), dtype=torch.float64, **own):
    """A problem with random, non-zero data, 21 points; own=dict(x=True, …) gives each member its own."""
    draw = torch.Generator().manual_seed(1)
    stack = random_stack(groups, activation, seed=0, dtype=dtype)
    inputs, outputs = groups[0][1][0], groups[0][1][-1]

    def lead(name):
        return (stack.members,) if own.get(name) else ()

    x = torch.randn(*lead("x"), 21, inputs, generator=draw, dtype=dtype)
    if loss == "cross_entropy":
        y = torch.randint(outputs, (*lead("y"), 21), generator=draw)
    else:
        y = torch.rand(*lead("y"), 21, outputs, generator=draw, dtype=dtype)
    weight = torch.rand(*lead("weight"), 21, generator=draw, dtype=dtype)
    return Regression(stack, x, y, loss, weight / weight.sum(-1, keepdim=True) if own else None)


def sequences(dtype=torch.float64, transition=(5, 6, 3), readout=(3, 4, 2), activation="tanh", loss="log", **more):
    x = torch.randn(9, 5, transition[0] - transition[-1], generator=torch.Generator().manual_seed(2), dtype=dtype)
    y = x.cumsum(1).mean(2, keepdim=True).expand(-1, -1, readout[-1])
    return Sequences(random_recurrent(3, transition, readout, activation, seed=4, dtype=dtype), x, y, loss, **more)


def reference(problem):
    """Losses and gradient of any problem by autograd in float64."""
    theta = problem.theta.detach().double().clone().requires_grad_()
    data = {
        name: t.double() if isinstance(t, torch.Tensor) and t.is_floating_point() else t
        for name, t in vars(problem).items()
        if name != "stack"
    }
    losses = replace(problem, stack=replace(problem.stack, theta=theta), **data).losses()
    return losses.detach(), torch.autograd.grad(losses.sum(), theta)[0]


def assert_exact(problem):
    """Both paths give the reference's losses and gradient."""
    losses, grad = reference(problem)
    for path in (lambda: problem.gradient(problem.theta), lambda: cpp.evaluate(problem, problem.theta, gradient=True)):
        got_losses, got = path()
        assert (got - grad).norm() <= TOLERANCE[got.dtype] * grad.norm()
        assert ((got_losses - losses).abs() <= TOLERANCE[got.dtype] * (1 + losses.abs())).all()


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", ["mse", "bce", "cross_entropy"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_gradient(activation, loss, dtype):
    assert_exact(regression(loss, activation, dtype=dtype))


@needs_compiler
@pytest.mark.parametrize("own", [{"x": True}, {"y": True}, {"weight": True}, {"x": True, "y": True, "weight": True}])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_mlp_gradient_with_own_data(loss, own):
    assert_exact(regression(loss, **own))


@needs_compiler
@settings(max_examples=30, deadline=None)
@given(
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 5),
    hidden=st.lists(st.lists(st.integers(1, 21), max_size=4), min_size=1, max_size=3),
    points=st.integers(1, 150),
    dtype=st.sampled_from(list(TOLERANCE)),
)
def test_mlp_gradient_at_any_shape(inputs, outputs, hidden, points, dtype):
    stack = random_stack([(2, (inputs, *widths, outputs)) for widths in hidden], "tanh", seed=0, dtype=dtype)
    draw = torch.Generator().manual_seed(points)
    x, y = (torch.randn(points, width, generator=draw, dtype=dtype) for width in (inputs, outputs))
    assert_exact(Regression(stack, x, y))


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", ["log", "mse"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [((5, 3), (3, 2)), ((5, 6, 3), (3, 4, 2)), ((4, 6, 5, 3), (3, 4, 5, 1))])
def test_rnn_gradient(sizes, activation, loss, dtype):
    assert_exact(sequences(dtype, *sizes, activation, loss))


def one_by_one(problem, optimiser, steps):
    """Losses (members,) and parameters (total,) after training each member alone by autograd and torch.optim."""
    losses, thetas = [], []
    kind = {Adam: torch.optim.Adam, AdamW: torch.optim.AdamW, SGD: torch.optim.SGD}[type(optimiser)]
    extra = {"momentum": optimiser.momentum} if kind is torch.optim.SGD else {"betas": optimiser.betas}
    for member in range(len(problem.sizes)):
        rate, decay = (float(v[member]) if isinstance(v, torch.Tensor) else v for v in (optimiser.rate, optimiser.decay))
        alone = problem.select(torch.tensor([member]))
        theta = torch.nn.Parameter(alone.theta.clone())
        torch_optimiser = kind([theta], lr=rate, weight_decay=decay, **extra)
        for step in range(steps):
            torch_optimiser.param_groups[0]["lr"] = rate * optimiser.factor(step)
            picks = alone.picks(step, step + 1)[0] if isinstance(alone, Sequences) else None
            now = alone if picks is None else replace(alone, x=alone.x[picks], y=alone.y[picks])
            theta.grad = torch.autograd.grad(now.with_theta(theta).losses().sum(), theta)[0]
            if optimiser.clip:
                torch.nn.utils.clip_grad_norm_([theta], optimiser.clip)
            torch_optimiser.step()
        losses.append(alone.with_theta(theta.detach()).losses())
        thetas.append(theta.detach())
    return torch.cat(losses), torch.cat(thetas)


FIVE = torch.tensor([1e-3, 2e-3, 3e-3, 5e-3, 1e-2], dtype=torch.float64)
OPTIMISERS = {
    "adam": Adam(1e-2),
    "adam, all settings": Adam(FIVE, decay=FIVE * 3, clip=0.2, schedule=lambda t: 0.99**t),
    "adamw": AdamW(FIVE, decay=0.1, betas=(0.8, 0.99)),
    "sgd": SGD(0.05, decay=FIVE),
    "momentum": SGD(FIVE, momentum=0.9, clip=0.5, schedule=lambda t: 1 / (1 + t)),
}


@pytest.fixture(params=["torch", pytest.param("cpp", marks=needs_compiler)])
def either(request, monkeypatch):
    """Runs a test under every engine of the CPU."""
    monkeypatch.setenv("BLACKBOX_ENGINE", request.param)
    return request.param


@functools.cache
def mlp_one_by_one(name):
    return one_by_one(regression(x=True, weight=True), OPTIMISERS[name], 200)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_trajectory(either, name):
    problem, (losses, theta) = regression(x=True, weight=True), mlp_one_by_one(name)
    run = train(problem, OPTIMISERS[name], 200, at=[0, 7])
    assert (run.problem.theta - theta).norm() <= 1e-9 * theta.norm()
    torch.testing.assert_close(run.losses[-1], losses, rtol=1e-9, atol=1e-12)


def test_rnn_trajectory(either):
    problem = sequences(batch=6, seed=3)
    optimiser = AdamW(FIVE[:3], decay=0.01, clip=0.5)
    losses, theta = one_by_one(problem, optimiser, 60)
    run = train(problem, optimiser, 60, at=[13])
    assert (run.problem.theta - theta).norm() <= 1e-9 * theta.norm()
    torch.testing.assert_close(run.losses[-1], losses, rtol=1e-9, atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("make", [lambda dtype: regression("bce", dtype=dtype), sequences])
def test_float32_trajectory_is_as_exact_as_torch(make, monkeypatch):
    exact = train(make(torch.float64), Adam(1e-3), 200).problem.theta
    error = {}
    for name in ("torch", "cpp"):
        monkeypatch.setenv("BLACKBOX_ENGINE", name)
        start = make(torch.float64)
        data = {k: t.float() for k, t in vars(start).items() if isinstance(t, torch.Tensor)}
        single = replace(start, stack=replace(start.stack, theta=start.theta.float()), **data)
        error[name] = (train(single, Adam(1e-3), 200).problem.theta - exact).norm()
    assert error["cpp"] <= 10 * error["torch"] + 1e-6 * exact.norm()


@pytest.mark.parametrize("problem", [regression("cross_entropy", y=True), sequences(batch=4)])
def test_members_equal_separate_runs(either, problem):
    """Also through compaction: the first member to finish stops, and the rest do as if alone."""
    together = train(problem, Adam(1e-2, clip=1.0), 40, at=[10, 20])
    stop = together.losses[0].argmin()
    thinned = train(
        problem, Adam(1e-2, clip=1.0), 40, at=[10, 20], finished=lambda losses: losses <= together.losses[0][stop]
    )
    assert thinned.losses[2, stop] == thinned.losses[0, stop]
    start = 0
    for member, size in enumerate(problem.sizes.tolist()):
        alone = train(problem.select(torch.tensor([member])), Adam(1e-2, clip=1.0), 40, at=[10, 20])
        torch.testing.assert_close(together.losses[:, member], alone.losses[:, 0], rtol=1e-10, atol=1e-12)
        span = slice(start, start + size)
        torch.testing.assert_close(together.problem.theta[span], alone.problem.theta, rtol=1e-9, atol=1e-12)
        if not bool((thinned.losses[:-1, member] <= together.losses[0][stop]).any()):
            torch.testing.assert_close(thinned.problem.theta[span], alone.problem.theta, rtol=1e-9, atol=1e-12)
        start += size


@pytest.mark.parametrize("problem", [regression(weight=True), sequences(batch=4)])
def test_deterministic_and_leaves_its_input_alone(either, problem):
    before = problem.theta.clone()
    first, second = (train(problem, Adam(1e-2), 30, at=at) for at in ([], [3, 11]))
    assert torch.equal(first.problem.theta, second.problem.theta)
    assert torch.equal(problem.theta, before)


def test_threads_do_not_matter(either):
    problem, runs = regression(), []
    for count in (2, 1):  # and leave it at one
        torch.set_num_threads(count)
        runs.append(train(problem, Adam(1e-2), 20).problem.theta)
    torch.testing.assert_close(*runs, rtol=1e-12, atol=0)


def test_chunks_do_not_matter(monkeypatch):
    monkeypatch.setenv("BLACKBOX_ENGINE", "torch")
    problem = regression(groups=((40, (2, 5, 3)), (30, (2, 3, 3))), weight=True)
    rate = torch.linspace(1e-3, 1e-2, 70, dtype=torch.float64)
    whole = train(problem, Adam(rate, clip=0.1), 10).problem.theta
    monkeypatch.setattr(engines, "CACHE", 1)
    torch.testing.assert_close(train(problem, Adam(rate, clip=0.1), 10).problem.theta, whole, rtol=1e-12, atol=0)


@needs_compiler
def test_nan_is_seen(either):
    problem = regression(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"losses = not finite at step 30 for members .*: expected a smaller rate"):
        train(problem, SGD(1e20), 30)


def test_choice_of_engine(monkeypatch):
    problem = regression()
    monkeypatch.delenv("BLACKBOX_ENGINE", raising=False)
    assert engines.engine(problem, Adam()) == ("cpp" if build.library() else "torch")
    assert engines.engine(problem, Optimiser()) == "torch"
    assert engines.engine(Differentiable(lambda p, m, step: p["a"], {"a": torch.ones(2)}), Adam()) == "torch"
    deep = regression(groups=((1, (2, 3, 3, 3, 3, 3, 3, 3)),))
    assert engines.engine(deep, Adam()) == "torch"
    monkeypatch.setenv("BLACKBOX_ENGINE", "cpp")
    with pytest.raises(ValueError, match="BLACKBOX_ENGINE = 'cpp': expected a problem that it can train"):
        engines.engine(deep, Adam())
    monkeypatch.setenv("BLACKBOX_ENGINE", "fortran")
    with pytest.raises(ValueError, match="BLACKBOX_ENGINE = 'fortran': expected one of torch, "):
        engines.engine(problem, Adam())


@pytest.fixture
def fresh_build(monkeypatch, tmp_path):
    """An empty cache, and no compiler but one that the test writes."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(tmp_path / "compiler"))
    monkeypatch.setattr(build.shutil, "which", lambda name: name if os.path.exists(name) else None)
    build.library.cache_clear()

    def compiler(*lines):
        (tmp_path / "compiler").write_text("\n".join(["#!/bin/sh", '[ "$1" = --version ] && exit', *lines]))
        (tmp_path / "compiler").chmod(stat.S_IRWXU)

    yield compiler
    build.library.cache_clear()


@pytest.mark.parametrize("lines", [None, ("echo broken >&2; exit 1",)])
def test_without_a_working_compiler(fresh_build, lines, capfd, monkeypatch):
    monkeypatch.delenv("BLACKBOX_ENGINE", raising=False)
    if lines:
        fresh_build(*lines)
    problem = regression()
    runs = [train(problem, Adam(1e-2), 5).problem.theta for _ in range(2)]
    notice = capfd.readouterr().err.strip().splitlines()
    assert len(notice) == 1  # once, not at every run
    assert ("broken" if lines else "no C++ compiler") in notice[0]
    assert torch.equal(*runs)


def test_compiled_once_by_many_processes(fresh_build, tmp_path):
    log, last = tmp_path / "log", "for last; do :; done"
    fresh_build(f"echo run >> {log}", last, "sleep 0.2", "echo library > $last")
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: build.build(), range(4)))
    assert log.read_text().split() == ["run"]
    assert [path.read_text() for path in paths] == ["library\n"]


@pytest.mark.usefixtures("reader")
def test_bad_recurrent_input():
    good = sequences()
    for change, words in (
        ({"transition": (3, 3)}, r"transition = \(3, 3\): expected more inputs than the 3 hidden units"),
        ({"readout": (2, 1)}, r"readout = \(2, 1\): expected 3 inputs"),
        ({"members": 0}, "members = 0: expected a whole number ≥ 1"),
        ({"members": 2}, r"theta = tensor of shape \(249,\): expected \(166,\)"),
        ({"activation": "sine"}, "activation = 'sine': expected one of gelu, leaky_relu, relu"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(good.stack, **change)
    for change, words in (
        ({"loss": "l1"}, "loss = 'l1': expected one of bce, log, mse"),
        ({"batch": 0}, "batch = 0: expected a whole number ≥ 1"),
        ({"x": good.x[:, :, :1]}, r"x = tensor of shape \(9, 5, 1\): expected \(N, T, 2\)"),
        ({"y": good.y[:, :3]}, r"y = tensor of shape \(9, 3, 2\): expected \(9, 5, 2\)"),
        ({"x": good.x.float()}, "x = .*float32.*: expected torch.float64 on cpu"),
        ({"x": good.x * float("nan")}, "x = .*: expected finite values, found nan"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(good, **change)


def test_minibatches_depend_on_seed_and_step_alone():
    problem = sequences(batch=50, seed=7)
    picks = problem.picks(0, 20)
    assert torch.equal(picks[5:9], problem.picks(5, 9))
    assert not torch.equal(picks, replace(problem, seed=8).picks(0, 20))
    counts = picks.flatten().bincount(minlength=9)
    assert len(counts) == 9
    assert ((counts - 1000 / 9).abs() < 5 * (1000 / 9) ** 0.5).all()


def test_recurrent_states_by_hand():
    """A network that counts: h = relu(h + x), y = 2 h."""
    theta = torch.tensor([1.0, 1.0, 0.0, 2.0, 0.0])
    net = Recurrent(theta, 1, (2, 1), (1, 1))
    x = torch.tensor([[[1.0], [2.0], [-0.5]]])
    assert net.states(x).flatten().tolist() == [1.0, 3.0, 2.5]
    assert net(x).flatten().tolist() == [2.0, 6.0, 5.0]


@pytest.mark.usefixtures("reader")
def test_bad_classes_are_refused():
    stack = Stack(torch.ones(6), ((1, (1, 3)),))
    for y, words in ((torch.tensor([3]), "from 3 to 3"), (torch.tensor([-1]), "from -1 to -1")):
        with pytest.raises(ValueError, match=f"y = torch.int64 {words}: expected int64 from 0 to 2"):
            Regression(stack, torch.ones(1, 1), y, "cross_entropy")
