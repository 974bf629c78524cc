import math
import time

import numpy as np
import pytest
import torch

from lib.kernels.mlp import Regression, random_stack
from lib.kernels.optimisers import Adam
from lib.kernels.training import train
from lib.papers import resource


@pytest.mark.parametrize(
    ("weight", "pairs", "w", "loss"),
    [(3.53, 1, 1.332, 1.03e-4), (9.07, 2, 1.056, 4.38e-5), (19.33, 3, 0.914, 2.53e-5), (128.0, 9, 0.626, 5.87e-6)],
)
def test_pairs_have_the_computed_weight_and_loss(weight, pairs, w, loss):
    found = resource.pair_network(weight, pairs)
    assert found[0] == pytest.approx(w, rel=0.01)
    assert found[1] == pytest.approx(loss, rel=0.01)
    assert found[2] > weight * found[1]


def test_only_the_ratio_of_task_weight_and_price_matters(monkeypatch):
    before = resource.pair_network(20.0, 3)
    monkeypatch.setattr(resource, "LAMBDA", 2 * resource.LAMBDA)
    after = resource.pair_network(40.0, 3)
    assert after[:2] == pytest.approx(before[:2], rel=1e-4)
    assert after[2] == pytest.approx(2 * before[2], rel=1e-6)


def test_best_pairs_approach_the_law():
    ratios = []
    for weight in (16.0, 512.0):
        pairs, w, loss, _ = resource.best_pairs(weight)
        assert pairs * w**3 == pytest.approx(2, rel=0.2)
        ratios.append(loss / resource.law(2 * pairs))
    assert ratios == pytest.approx([1, 1], abs=0.1)


def test_a_bias_removes_the_quartic_error():
    """s'''' changes sign near 1.03; at a large task weight one pair there beats all unbiased pairs, at a small one not."""
    b = torch.tensor([1.0, 1.1], dtype=torch.float64, requires_grad=True)
    value = torch.nn.functional.silu(b)
    for _ in range(4):
        (value,) = torch.autograd.grad(value.sum(), b, create_graph=True)
    assert value[0] * value[1] < 0
    assert resource.pair_network(128.0, 1, biased=True)[2] < resource.best_pairs(128.0)[3]
    assert resource.pair_network(16.0, 1, biased=True)[2] > resource.best_pairs(16.0)[3]


def test_the_law_is_what_a_pair_leaves():
    x, q = np.polynomial.legendre.leggauss(16)
    assert q @ resource.pair_error(0.3, torch.from_numpy(x)).numpy() ** 2 / 2 == pytest.approx(resource.KAPPA * 0.3**4)


@pytest.mark.parametrize("tasks", [1, 2])
def test_grid_averages(tasks):
    x, q = resource.grid(tasks, 8)
    assert x.shape == (8**tasks, tasks)
    assert q.sum().item() == pytest.approx(1, rel=1e-6)
    assert (q * (x**4).prod(1)).sum().item() == pytest.approx(0.2**tasks, rel=1e-5)


def plain(theta, weights, x, y, q, width, steps, rate):
    """One network of the objective by autograd and torch.optim: the reference. Returns its task losses (T,)."""
    T = x.shape[1]
    w, b, v, c = (p.clone().requires_grad_() for p in theta.split([width * T, width, width * T, T]))
    optimiser = torch.optim.Adam([w, b, v, c], lr=rate, eps=1e-12)
    for step in range(steps + 1):
        f = torch.nn.functional.silu(x @ w.view(width, T).T + b) @ v.view(T, width).T + c
        losses = ((f - y).square() * q[:, None]).sum(0)
        if step < steps:
            optimiser.zero_grad()
            price = w.square().sum() + b.square().sum() + v.square().sum()
            ((weights * losses).sum() + resource.LAMBDA * price).backward()
            optimiser.step()
    return losses.detach()


@pytest.mark.parametrize("tasks", [1, 2])
def test_units_of_the_outputs_stand_for_task_weights(tasks):
    """All members at once, in scaled units, are separate plain runs on the weighted loss and the price, to 1e-4."""
    torch.manual_seed(tasks)
    width, members, steps, rate = 6, 5, 200, 1e-2
    weights = torch.rand(members, tasks, dtype=torch.float64) * 50 + 0.5
    x, q = (t.double() for t in resource.grid(tasks, 6))
    y = x.square()
    stack = random_stack([(members, (tasks, width, tasks))], seed=3, scale=0.3, dtype=torch.float64)
    starts = stack.theta.clone().view(members, -1)
    unit, rates, decays = resource._priced(stack, weights, rate)
    run = train(Regression(stack, x, y * unit[:, None], weight=q), Adam(rates, decays, eps=1e-12), steps)
    outputs = run.problem.stack(x) / unit[:, None]
    losses = ((outputs - y).square() * q[:, None]).sum(1)
    torch.testing.assert_close(run.losses[-1], (losses * weights).sum(1), rtol=1e-9, atol=0)
    for i in range(members):
        expected = plain(starts[i], weights[i], x, y, q, width, steps, rate)
        torch.testing.assert_close(losses[i], expected, rtol=1e-4, atol=0)


def test_a_sweep_is_much_faster_than_a_loop():
    x, q = resource.grid(1, 16)
    start = time.process_time()
    plain(torch.randn(4 * 16 + 1 - 16), torch.ones(1), x, x.square(), q, 16, 100, 1e-2)
    loop = (time.process_time() - start) / 100
    resource.sweep([1.0], [16], 2, 10)  # the kernels are built by now
    start = time.process_time()
    resource.sweep([1.0] * 50, [16], 4, 500)
    batch = (time.process_time() - start) / (200 * 500)
    assert loop / batch > 5


def test_small_task_weights_keep_two_neurons():
    (run,) = resource.sweep([1.0, 2.0], [24], 4, 16000)
    assert bool((run.neurons == 2).all())
    assert run.losses[:, :, 0].median(1).values.tolist() == pytest.approx([1.29e-4, 1.15e-4], rel=0.04)
    w = run.w[run.owners].view(2, 4, 2)
    torch.testing.assert_close(w.sum(2), torch.zeros(2, 4), atol=1e-3, rtol=0)  # mirror pairs
    x, q = resource.grid(1, 16)
    for cell in range(2):
        error = run.error(cell, 1, x[:, 0])
        torch.testing.assert_close((error.square() * q).sum(), run.losses[cell, 1, 0], rtol=1e-3, atol=0)


def test_neurons_belong_to_the_stronger_task_and_dead_ones_to_none():
    w = torch.tensor([[1.0, 0.1], [0.1, 1.0], [1.0, 1e-4], [1e-4, 1.0]]).view(1, 1, 4, 2)
    v = torch.tensor([[1.0, 0.1], [0.1, 1.0], [1e-4, 1.0], [0.0, 1.0]]).view(1, 1, 4, 2)
    b, c, losses = torch.zeros(1, 1, 4), torch.zeros(1, 1, 2), torch.tensor([[[0.1, 0.2]]])
    run = resource.Sweep(("x²", "x²"), torch.tensor([[3.0, 4.0]]), w, b, v, c, losses)
    assert run.neurons.tolist() == [[[1, 2]]]
    price = float(w.square().sum() + v.square().sum())
    assert run.objective.item() == pytest.approx(1.1 + resource.LAMBDA * price)


def test_line_recovers_an_exact_law():
    x = np.arange(1.0, 6.0)
    assert resource.line(x, 7 * x**-1.3) == pytest.approx((-1.3,) * 3, abs=1e-6)


def test_chinchilla_shapes():
    millions, d, depth = resource.SHAPES.T
    assert len(d) == 50
    assert 0.60 <= resource.line(d, depth)[0] <= 0.73
    assert 2.45 <= resource.line(d, millions)[0] <= 2.60
    counted = 12 * d**2 * depth / 1e6  # the matrices of a transformer, without embeddings
    assert bool(((millions / counted > 0.9) & (millions / counted < 2.5)).all())


def test_onset():
    neurons = torch.tensor([[2, 2], [2, 3], [3, 3], [4, 5]])
    assert resource.onset([1, 2, 4, 8], neurons) == 4
    assert math.isnan(resource.onset([1, 2], neurons[:2]))


def test_parallel_and_series_have_their_shapes():
    neurons, losses = resource.parallel([0.5, 0.75], [1.0, 4.0, 16.0], 8, 2, 50)
    assert neurons.shape == losses.shape == (2, 3, 2, 2)
    assert bool((neurons.sum(3) <= 8).all())
    used, losses, correlations = resource.series([1.0, 10.0], 2, 10, width=6, points=32)
    assert used.shape == losses.shape == (2, 2)
    assert correlations.shape == (2, 2, 4)
    assert 0 <= correlations.min() <= correlations.max() <= 1 + 1e-5


def test_sweeps_repeat_and_differ_by_seed():
    first, again, other = (resource.sweep([4.0], [6], 2, 20, seed=s)[0].losses for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resource.pair_network(0.0, 1), "weight = 0.0"),
        (lambda: resource.pair_network(1.0, 0), "pairs = 0"),
        (lambda: resource.sweep([1.0, -2.0], [4], 2, 5), "weights = "),
        (lambda: resource.sweep([[1.0, 2.0]], [4], 2, 5), "weights = "),
        (lambda: resource.sweep([1.0], [4], 2, 5, tasks=("x³",)), "tasks"),
        (lambda: resource.sweep([1.0], [4], 2, 0), "steps = 0"),
        (lambda: resource.parallel([1.0], [4.0], 4, 2, 5), "shares = "),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
