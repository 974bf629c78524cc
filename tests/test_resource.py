import hashlib
import re
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, SMOKE, built
from scipy.optimize import minimize

from lib.kernels.mlp import Regression, random_stack
from lib.kernels.optimisers import Adam
from lib.kernels.problems import Problem
from lib.kernels.training import train
from lib.papers import resource
from lib.reading import verdicts

# ---- theory --------------------------------------------------------------------------------------------------------------


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
    neurons, losses, costs = resource.staircase([16.0, 512.0])
    for weight, n, loss, cost in zip((16.0, 512.0), neurons, losses, costs, strict=True):
        assert loss / resource.law(n) == pytest.approx(1, abs=0.1)
        others = [resource.pair_network(weight, n // 2 + step) for step in (-1, 0, 1)]
        assert cost == pytest.approx(min(found[2] for found in others))
        assert n / 2 * others[1][0] ** 3 == pytest.approx(2, rel=0.2)


def test_a_bias_removes_the_quartic_error():
    """s'''' changes sign near 1.03; at a large task weight one pair there beats all unbiased pairs, at a small one not."""
    b = torch.tensor([1.0, 1.1], dtype=torch.float64, requires_grad=True)
    value = torch.nn.functional.silu(b)
    for _ in range(4):
        (value,) = torch.autograd.grad(value.sum(), b, create_graph=True)
    assert value[0] * value[1] < 0
    assert resource.pair_network(128.0, 1, biased=True)[2] < resource.staircase([128.0])[2][0]
    assert resource.pair_network(16.0, 1, biased=True)[2] > resource.staircase([16.0])[2][0]


def test_the_law_is_what_a_pair_leaves():
    x, q = np.polynomial.legendre.leggauss(16)
    assert q @ resource.pair_error(0.3, torch.from_numpy(x)).numpy() ** 2 / 2 == pytest.approx(resource.KAPPA * 0.3**4)


def test_exponent_recovers_exact_laws_along_any_axes():
    x = torch.arange(1.0, 6.0, dtype=torch.float64)
    y = torch.stack([7 * x**-1.3, 2 * x**0.5]).repeat(4, 1, 1)
    torch.testing.assert_close(resource.exponent(x.expand_as(y), y), torch.tensor([1.3, -0.5]).double().repeat(4, 1))
    assert resource.exponent(torch.ones(3), torch.tensor([1.0, 2.0, 3.0])).isnan()


# ---- training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [1, 2])
def test_grid_averages(tasks):
    x, q = resource.grid(tasks, 8)
    assert x.shape == (8**tasks, tasks)
    assert q.sum().item() == pytest.approx(1)
    assert (q * (x**4).prod(1)).sum().item() == pytest.approx(0.2**tasks)


def plain(theta, weights, x, y, q, width, power=2):
    """J and the task losses (T,) of one network, packed as W, b, V (T, H), c, by autograd alone: the reference."""
    T = x.shape[1]
    w, b, v, c = theta.split([width * T, width, width * T, T])
    f = torch.nn.functional.silu(x @ w.view(width, T).T + b) @ v.view(T, width).T + c
    losses = ((f - y).square() * q[:, None]).sum(0)
    return (weights * losses).sum() + resource.LAMBDA * (theta[: -len(c)].abs() ** power).sum(), losses


@pytest.mark.parametrize("tasks", [1, 2])
def test_units_of_the_outputs_stand_for_task_weights(tasks):
    """All members at once, in scaled units, are separate plain runs on the weighted loss and the price, to 1e-4."""
    torch.manual_seed(tasks)
    width, members, steps, rate = 6, 5, 200, resource.RATE
    weights = torch.rand(members, tasks, dtype=torch.float64) * 50 + 0.5
    x, q = resource.grid(tasks, 6)
    y = x.square()
    stack = random_stack([(members, (tasks, width, tasks))], seed=3, scale=0.3, dtype=torch.float64)
    starts = stack.theta.clone().view(members, -1)
    unit, rates, decays = resource._priced(stack, weights)
    run = train(Regression(stack, x, y * unit[:, None], weight=q), Adam(rates, decays, eps=1e-12), steps)
    outputs = run.problem.stack(x) / unit[:, None]
    losses = ((outputs - y).square() * q[:, None]).sum(1)
    for i in range(members):
        theta = starts[i].clone().requires_grad_()
        optimiser = torch.optim.Adam([theta], lr=rate, eps=1e-12)
        for _ in range(steps):
            optimiser.zero_grad()
            plain(theta, weights[i], x, y, q, width)[0].backward()
            optimiser.step()
        expected = plain(theta, weights[i], x, y, q, width)[1]
        torch.testing.assert_close(losses[i], expected.detach(), rtol=1e-4, atol=0)


def test_a_stack_is_much_faster_than_a_loop():
    x, q = resource.grid(1, resource.USUAL_NODES[1])
    theta = torch.randn(49, dtype=torch.float64, requires_grad=True)
    optimiser, start = torch.optim.Adam([theta]), time.process_time()
    for _ in range(100):
        optimiser.zero_grad()
        plain(theta, torch.ones(1), x, x.square(), q, 16)[0].backward()
        optimiser.step()
    loop = (time.process_time() - start) / 100
    resource.trained([[1.0]], 16, 2, 10)  # the kernels are built by now
    start = time.process_time()
    resource.trained([[1.0]] * 50, 16, 4, 500)
    assert loop / ((time.process_time() - start) / (200 * 500)) > 5


def test_runs_repeat_and_differ_by_seed():
    first, again, other = (resource.trained([[4.0]], 6, 2, 20, seed=s).losses for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# ---- settling ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tasks", "power"), [(("x²",), 2.0), (("x³", "cos πx"), 2.0), (("x²",), 1.0)])
def test_derivatives_are_those_of_autograd(tasks, power, monkeypatch):
    monkeypatch.setattr(resource, "ROUND", 1e-9)
    torch.manual_seed(1)
    x, q, y = resource._points(tasks)
    T, H = len(tasks), 4
    weights, theta = torch.rand(T, dtype=torch.float64) * 9, torch.randn(2 * H * T + H + T, dtype=torch.float64)
    objective = resource._Objective(*(t.numpy() for t in (x, q, y, weights)), power)
    order = torch.arange(H * T).view(T, H).T.flatten()  # the reference has w as (H, T)

    def reference(z):
        return plain(torch.cat([z[: H * T][order], z[H * T :]]), weights, x, y, q, H, power)[0]

    value, grad = objective.gradient(theta.numpy())
    torch.testing.assert_close(torch.tensor(value), reference(theta))
    torch.testing.assert_close(torch.from_numpy(grad), torch.autograd.functional.jacobian(reference, theta))
    found = torch.from_numpy(objective.hessian(theta.numpy()))
    torch.testing.assert_close(found.triu(), torch.autograd.functional.hessian(reference, theta).triu())


def test_settled_networks_are_where_a_library_says_the_minimum_is():
    before = resource.trained([[2.0], [12.0]], 10, 2, 1500)
    after = resource.settled(before)
    assert bool((after.unrest < 1e-6).all())
    assert bool((after.objective < before.objective).all())
    x, q, y = (t.numpy() for t in resource._points(("x²",)))
    for k, s in np.ndindex(2, 2):
        kept = after.w[k, s, :, 0] != 0
        parts = (after.w[k, s, kept, 0], after.b[k, s, kept], after.v[k, s, kept, 0], after.c[k, s])
        objective = resource._Objective(x, q, y, after.weights[k].numpy())
        theta = torch.cat(parts).numpy()
        nudged = theta + 1e-3 * np.random.default_rng(0).normal(size=len(theta))
        best = minimize(objective.gradient, nudged, jac=True, method="BFGS", options={"gtol": 1e-10})
        assert best.fun == pytest.approx(after.objective[k, s].item(), rel=1e-9)
        np.testing.assert_allclose(best.x, theta, atol=1e-4)
        assert np.linalg.eigvalsh(objective.hessian(theta), "U").min() > 0


def test_networks_at_rest_are_equal_mirror_pairs_and_their_modules_agree():
    run = resource.settled(resource.trained([[1.0], [9.07]], 24, 4, 8000))
    assert run.neurons[..., 0].tolist() == [[2.0] * 4, [4.0] * 4]
    x = resource.grid(1, 24)[0][:, 0]
    for k, (pairs, weight) in enumerate(((1, 1.0), (2, 9.07))):
        w, loss, cost = resource.pair_network(weight, pairs)
        mine = run.w[k][run.earning[k]][:, 0].view(4, 2 * pairs)
        torch.testing.assert_close(mine.abs(), torch.full_like(mine, w), rtol=1e-3, atol=0)
        torch.testing.assert_close(mine.sum(1), torch.zeros(4).double(), rtol=0, atol=1e-6)
        assert run.losses[k, :, 0].tolist() == pytest.approx([loss] * 4, rel=1e-3)
        assert run.objective[k].tolist() == pytest.approx([cost] * 4, rel=1e-6)
        errors = resource.module_errors(run, k, 0, x)
        assert errors.shape == (pairs, 24)
        assert (errors @ errors.T / 24).min().item() == pytest.approx(1, abs=1e-4)


def test_a_lopsided_pair_has_a_straight_error():
    w, v = torch.tensor([0.12, -0.08]).double(), torch.full((2,), 200.0).double()
    parts = w.view(1, 1, 2, 1), torch.zeros(1, 1, 2).double(), v.view(1, 1, 2, 1), torch.zeros(1, 1, 1).double()
    pair = resource.Networks(("x²",), torch.tensor([[1e6]]).double(), *parts, torch.zeros(1, 1).double())
    x = resource.grid(1, 24)[0][:, 0]
    (error,) = resource.module_errors(pair, 0, 0, x)
    assert abs(float(error @ x) / 24 / float(x.square().mean().sqrt())) > 0.99
    (even,) = resource.module_errors(replace(pair, w=torch.tensor([0.1, -0.1]).double().view(1, 1, 2, 1)), 0, 0, x)
    assert float(even @ x) / 24 == pytest.approx(0, abs=1e-6)


def test_a_neuron_counts_if_the_network_is_dearer_without_it():
    """The formula against the objective with the neuron taken out and the output bias found anew."""
    run = resource.trained([[3.0, 20.0]], 12, 3, 400, tasks=("x²", "exp x"))
    x, q, _ = resource._points(run.tasks)
    saved = []
    for s, i in np.ndindex(3, 12):
        v = run.v.clone()
        v[0, s, i] = 0
        out = replace(run, v=v, c=torch.zeros_like(run.c))
        r = out.error(x)[0, s] - out.error(x)[0, s] @ q[:, None]
        here = run.error(x)[0, s]
        here = here - here @ q[:, None]
        gain = ((r.square() - here.square()) @ q) @ run.weights[0]
        saved.append(bool(gain > run.prices[0, s, i]))
    assert run.earning[0].flatten().tolist() == saved
    assert 0 < sum(saved) < len(saved)


def test_neurons_belong_to_the_output_they_serve_most():
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]).double()[None, None]
    v = torch.tensor([[1.0, 0.1], [0.1, 1.0], [0.0, 2.0], [1.0, 1.0]]).double()[None, None]
    zero, rest = torch.zeros(1, 1, 4).double(), torch.zeros(1, 1).double()
    weights = torch.tensor([[1e3, 1e3]]).double()
    run = resource.Networks(("x²", "x²"), weights, w, zero, v, torch.zeros(1, 1, 2).double(), rest)
    strongest = run.contributions.argmax(3)[0, 0]
    assert strongest[:3].tolist() == [0, 1, 1]
    assert not run.earning[0, 0, 3]  # a constant can be had from the output bias for nothing
    assert run.prices[0, 0].tolist() == pytest.approx([resource.LAMBDA * s for s in (2.01, 2.01, 5, 2)])
    assert bool((run.owners.sum(3) == run.earning).all())


def test_the_price_on_size_has_the_gradient_of_autograd():
    stack = resource.random_stack([(3, (1, 4, 1))], seed=0, scale=0.3, dtype=torch.float64)
    x, q, y = resource._points(("x²",))
    problem = resource._Lasso(stack, x, y, weight=torch.tensor([[1.0], [5.0], [9.0]]).double() * q)
    free = torch.tensor([1.0] * 12 + [0.0]).double().repeat(3)  # all but the output's bias
    plain = super(resource._Lasso, problem).losses() + resource.LAMBDA * (free * stack.theta.abs()).view(3, -1).sum(1)
    torch.testing.assert_close(problem.losses(), plain)
    losses, grad = problem.gradient(stack.theta)
    torch.testing.assert_close(losses, plain)
    torch.testing.assert_close(grad, Problem.gradient(problem, stack.theta)[1])


def test_a_price_on_size_leaves_one_pair():
    run = resource.settled(resource.lasso([1.0, 16.0], 8, 2, 500))
    assert run.neurons[..., 0].tolist() == [[2.0] * 2] * 2
    assert run.losses[0].max() > 3 * run.losses[1].max()
    price = resource.LAMBDA * (run.w.abs().sum((2, 3)) + run.b.abs().sum(2) + run.v.abs().sum((2, 3)))
    torch.testing.assert_close(run.objective, run.losses[..., 0] * run.weights + price)


# ---- two tasks in a row, Chinchilla --------------------------------------------------------------------------------------


def test_series_has_its_shapes_and_learns():
    early, late = (resource.series([10.0, 100.0], 2, steps) for steps in (5, 300))
    assert early["used"].shape == early["losses"].shape == (2, 2)
    assert early["correlations"].shape == (2, 2, 4)
    assert 0 <= early["correlations"].min() <= early["correlations"].max() <= 1 + 1e-5
    assert bool((late["losses"] < early["losses"] / 10).all())
    assert bool((late["used"] <= 80).all())


def test_chinchilla_shapes():
    millions, d, depth = resource.SHAPES.T
    assert len(d) == 50
    counted = 12 * d**2 * depth / 1e6  # the matrices of a transformer, without embeddings
    assert bool(((millions / counted > 0.9) & (millions / counted < 2.5)).all())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resource.pair_network(0.0, 1), "weight = 0.0"),
        (lambda: resource.pair_network(1.0, 0), "pairs = 0"),
        (lambda: resource.trained([[1.0], [-2.0]], 4, 2, 5), "weights = "),
        (lambda: resource.trained([[1.0, 2.0]], 4, 2, 5), "weights = "),
        (lambda: resource.trained([[1.0]], 4, 2, 5, tasks=("x⁵",)), "tasks"),
        (lambda: resource.trained([[1.0]], 4, 2, 0), "steps = 0"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- the page ------------------------------------------------------------------------------------------------------------

ABSTRACT = "191ac601e023c9ed8d0c96ea3074db869597e1108e0ca631da311f69cff6ca6f"


def test_every_sentence_of_the_abstract_is_judged_or_said_not_to_be():
    items = re.findall(r'^- "(.*)" → (.*)$', (ROOT / "book/resource.md").read_text(encoding="utf-8"), re.M)
    said = " ".join(sentence for sentence, _ in items)
    assert hashlib.sha256(said.encode()).hexdigest() == ABSTRACT, "the sentences are no longer the paper's abstract"
    rows = verdicts.read(built(SMOKE / "resource.ipynb"))
    known = {row["id"].split("/")[1] for row in rows}
    named = {name for _, names in items if not names.startswith("not judged: ") for name in names.split(", ")}
    assert named <= known
    by_paper = {row["id"].split("/")[1] for row in rows if row["origin"] == "paper" and "abstract" in row["source"]}
    assert by_paper <= named
