import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.kernels.problems import Differentiable
from lib.papers.hypernetworks import generator, networks, phases, training
from lib.papers.hypernetworks.phases import CONVEXITY, DOUBLE, MINUS, NONE, PLUS
from lib.papers.hypernetworks.training import Recipe

X = networks.normal(1 << 15, 16, seed=3).double()


def random_draws(S, B, n, seed=0, dtype=torch.float64):
    """Addresses, noise and prices for S hypernetworks at B prices, random."""
    addresses = generator.sphere(networks.normal(S, B, n, 6, seed=seed)).to(dtype)
    noise = networks.normal(S, B, n * 6 + 3 * n * (8 + n), seed=seed + 1).to(dtype)
    beta = 10 ** (-7 * torch.rand(S, B, generator=torch.Generator().manual_seed(seed + 2), dtype=dtype))
    return beta, addresses, noise


def trainee(parameters, **settings):
    """Hypernetworks in training."""
    return Differentiable(partial(training.objective, Recipe(len(parameters["base"]), **settings)), parameters)


def shaken(seeds, seed=0, dtype=torch.float64):
    """Hypernetworks whose every number is random, none zero."""
    parameters = generator.initial(seeds, seed=seed)
    return {
        name: t.to(dtype) + 0.1 * networks.normal(*t.shape, seed=i + 1).to(dtype)
        for i, (name, t) in enumerate(parameters.items())
    }


# ---- the generator -------------------------------------------------------------------------------------------------------


def plain_network(parameters, beta, addresses, noise):
    """One hypernetwork, one price, edge by edge: the generator's definition in loops. Returns W, w, nats."""
    n, code = addresses.shape
    h, silu = 3 * n, torch.nn.functional.silu
    phi = torch.tanh((2 * (math.log10(beta) + 7) / 7 - 1) * parameters["rate"] + parameters["shift"])
    theta = parameters["base"] + phi @ parameters["turn"]
    p, start = {}, 0
    for name, shape in generator.SHAPES.items():
        p[name] = theta[start : start + math.prod(shape)].view(shape)
        start += math.prod(shape)
    assert start == len(theta)
    c = torch.nn.functional.softplus(3 * (parameters["open"] + phi @ parameters["close"])) / 3
    nats = n * c[:code].sum() + h * c[code:].sum()

    def sent(a, xi, c):
        return (1 - torch.exp(-2 * c)).sqrt() * a + torch.exp(-c) * xi

    ins, hid, slots, xi = noise.split([n * code, h * code, 2 * h, h * n])
    inputs = [sent(addresses[i], ins.view(n, code)[i], c[:code]) for i in range(n)]
    hidden = []
    for j in range(h):
        angle = torch.tensor(2 * math.pi * (j // n) / 3, dtype=theta.dtype)
        slot = sent(math.sqrt(2) * torch.stack([angle.cos(), angle.sin()]), slots.view(h, 2)[j], c[2 * code :])
        hidden.append(torch.cat([sent(addresses[j % n], hid.view(h, code)[j], c[code : 2 * code]), slot]))
    heads = [p["Q"][:, m * code : (m + 1) * code] for m in range(2)]
    s = torch.stack(
        [torch.stack([torch.stack([(z @ Q) @ (y @ Q[:code]) for y in inputs]) for z in hidden]) for Q in heads]
    ) / math.sqrt(code)
    rows, columns = 4 * s.softmax(2), 4 * s.softmax(1)
    e = torch.zeros(h, n, 16, dtype=theta.dtype)
    for j in range(h):
        for i in range(n):
            features = torch.cat([s[:, j, i], rows[:, j, i], columns[:, j, i], xi.view(h, n)[j, i][None]])
            pre = features @ p["E0"] + inputs[i] @ p["U0"][:code] + hidden[j] @ p["V0"] + p["b0"]
            e[j, i] = silu(pre) * (1 + hidden[j][code:] @ p["G"])
    e2 = torch.zeros_like(e)
    for j in range(h):
        for i in range(n):
            pre = e[j, i] @ p["E1"] + e[j].mean(0) @ p["A"] + e[:, i].mean(0) @ p["B"] + e.mean((0, 1)) @ p["C"]
            e2[j, i] = silu(pre + hidden[j] @ p["V1"] + p["b1"])
    W = 2 * torch.exp(3 * p["l0"]) * (e2 @ p["w"] + p["wb"])
    w = torch.exp(3 * p["l1"]) * (0.3 + e2.mean(1) @ p["wv"])
    return W, w, nats


@pytest.mark.parametrize("n", [2, 3])
def test_generator_is_its_definition(n):
    parameters, drawn = shaken(2), random_draws(2, 2, n)
    W, w, nats = generator.generate(parameters, *drawn)
    assert W.shape == (2, 2, 3 * n, n)
    for s in range(2):
        for b in range(2):
            one = {name: t[s] for name, t in parameters.items()}
            expected = plain_network(one, *(t[s, b] for t in drawn))
            for got, want in zip((W, w, nats), expected, strict=True):
                torch.testing.assert_close(got[s, b], want, rtol=1e-9, atol=1e-12)


def test_generator_has_the_documented_size():
    parameters = generator.initial(1)
    assert parameters["base"].shape == (1, 1715)
    assert sum(t.numel() for t in parameters.values()) == 12115


def test_untrained_hypernetworks_spend_the_same_at_every_price():
    _, _, nats = generator.generate(generator.initial(2), *random_draws(2, 5, 4, dtype=torch.float32))
    torch.testing.assert_close(nats, torch.full((2, 5), (4 * 6 + 12 * 8) * math.log1p(math.exp(3)) / 3))


def test_generator_does_not_care_about_the_order_of_inputs():
    parameters, (beta, addresses, noise) = shaken(1), random_draws(1, 1, 4)
    turn = torch.tensor([2, 0, 3, 1])
    hidden = (torch.arange(3)[:, None] * 4 + turn).flatten()
    ins, hid, slots, edges = noise.split([24, 72, 24, 48], 2)
    moved = [ins.view(4, 6)[turn], hid.view(12, 6)[hidden], slots.view(12, 2)[hidden], edges.view(12, 4)[hidden][:, turn]]
    moved = torch.cat([part.flatten() for part in moved])
    W, w, nats = generator.generate(parameters, beta, addresses, noise)
    W2, w2, nats2 = generator.generate(parameters, beta, addresses[:, :, turn], moved[None, None])
    torch.testing.assert_close(W2[0, 0], W[0, 0][hidden][:, turn])
    torch.testing.assert_close(w2[0, 0], w[0, 0][hidden])
    torch.testing.assert_close(nats2, nats)


# ---- training ------------------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_loss_over_a_fixed_denominator(monkeypatch):
    """Against a difference quotient in float64, at a single price."""
    monkeypatch.setattr(training, "PRICES", 1)
    problem = trainee(shaken(2), steps=10, dims=(3,), seed=1)
    theta, direction, t = problem.theta, networks.normal(problem.theta.numel(), seed=4).double(), 1e-6

    def loss(theta):
        share, grad = problem.gradient(theta, 9)  # l / (l + 0.02)
        return 0.02 * share / (1 - share), grad

    (losses, grad), (up, _), (down, _) = (loss(theta + side * t * direction) for side in (0, 1, -1))
    slope = (grad * direction).view(2, -1).sum(1)
    torch.testing.assert_close(slope, (up - down) / (2 * t) / (losses + 0.02), rtol=1e-5, atol=1e-8)


def test_the_price_is_phased_in(monkeypatch):
    """Between 15 % and 45 % of the steps, seen on networks that say nothing and cost a million divided by the price."""

    def nothing(parameters, beta, addresses, noise):
        n = addresses.shape[2]
        return beta.new_zeros(*beta.shape, 3 * n, n), beta.new_zeros(*beta.shape, 3 * n), 1e6 / beta

    monkeypatch.setattr(training, "PRICES", 1)
    monkeypatch.setattr(training, "generate", nothing)
    problem = trainee(shaken(1), steps=100, dims=(3,), seed=1)
    shares = torch.cat([problem.losses(step) for step in (14, 30, 46)])  # l / (l + 0.02)
    assert (0.02 * shares / (1 - shares) / 1e6).tolist() == pytest.approx([0, 0.5, 1], abs=1e-4)
    assert problem.losses() == pytest.approx(1e6, rel=1e-4)


def test_training_learns_and_repeats():
    def look(step, parameters):
        return step, training.survey(parameters, 4, [1e-6]).eps

    first, records = training.fit(Recipe(2, 60, [3, 4], seed=1), at=[0], record=look)
    second, _ = training.fit(Recipe(2, 60, [3, 4], seed=1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [step for step, _ in records] == [0, 60]
    assert (records[-1][1] < records[0][1]).all()


def test_ordinary_training():
    W, w, eps = training.train_directly([1e-3, 3e-2], 2, 150, 4)
    assert W.shape == (2, 2, 12, 4)
    assert w.shape == (2, 2, 12)
    assert (eps[1] < eps[0]).all()
    assert (eps[1] < 0.3).all()


# ---- networks ------------------------------------------------------------------------------------------------------------


def scaled(W, w, x):
    """ε after rescaling."""
    return networks.misfit(networks.rescaled(networks.outputs(W, w, x), x), x)


def test_hand_built_networks():
    assert 16 * (1 - 2 / math.pi) == pytest.approx(X.abs().sum(1).var().item(), rel=0.03)
    errors = {gain: networks.error(*networks.double_sided(16, gain), X).item() for gain in (3.0, 5.0, 10.0)}
    assert [errors[gain] for gain in (3.0, 5.0, 10.0)] == pytest.approx([0.53, 0.099, 0.0079], rel=0.05)
    for sign in (1, -1):
        assert networks.error(*networks.pudding(16, sign), X) == pytest.approx(errors[10.0], rel=0.05)
    scan = scaled(*networks.plums(16, torch.tensor([0, 0.5, 0.75, 1, 1.25, 1.5])), X)
    assert scan.tolist() == pytest.approx([2.55, 0.77, 0.27, 0.11, 0.31, 0.84], rel=0.12)


@given(st.integers(2, 12), st.floats(-0.5, 1.5), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_plums_compute_the_norm_of_what_is_left_of_the_mean(n, share, seed):
    x = networks.normal(50, n, seed=seed).double()
    W, w = networks.plums(n, share, gain=1e6)
    mean = x.mean(1, keepdim=True)
    expected = (x - share * mean).abs().sum(1) + (1 - share) * x.sum(1)
    torch.testing.assert_close(networks.outputs(W, w, x), expected, rtol=1e-4, atol=1e-4)


def test_limits_of_the_errors():
    n = 400
    x = networks.normal(8192, n, seed=5).double()
    assert scaled(*networks.plums(n, 1.0), x) * n == pytest.approx((math.pi - 1) / (math.pi - 2), rel=0.05)
    length = networks.misfit(networks.rescaled(x.norm(dim=1), x), x)
    assert length == pytest.approx((math.pi - 3) / (math.pi - 2), rel=0.05)
    few = networks.normal(4096, 4, seed=6).double()
    W, w = networks.convex(4, 10000)
    expected = networks.misfit(networks.rescaled(few.norm(dim=1), few), few).item()
    assert scaled(W[0], w[0], few) == pytest.approx(expected, rel=0.1)


def test_rescaling_is_the_best_factor():
    f = networks.outputs(*networks.double_sided(16, 2.0), X[:500])
    best = networks.misfit(networks.rescaled(f, X[:500]), X[:500])
    factors = networks.rescaled(f, X[:500])[0] / f[0] * torch.tensor([0.99, 1.0, 1.01])
    others = networks.misfit(f * factors[:, None], X[:500])
    assert others.argmin() == 1
    torch.testing.assert_close(others[1], best)


def test_nine_numbers_keep_a_network_that_has_nine_and_are_means():
    n, own, others, out = 5, torch.tensor([3.0, -2.0, 0.5]), torch.tensor([-0.3, 0.1, -1.0]), torch.tensor([1.0, 0.5, 2.0])
    eye = torch.eye(n)
    W = torch.cat([a * eye + b * (1 - eye) for a, b in zip(own, others, strict=True)])
    w = out.repeat_interleave(n)
    shaking = networks.normal(3 * n, n, seed=1)
    for W2, w2 in (networks.nine_numbers(W, w), networks.nine_numbers(*networks.nine_numbers(W + shaking, w))):
        again = networks.nine_numbers(W2, w2)
        torch.testing.assert_close(again, (W2, w2))
    torch.testing.assert_close(networks.nine_numbers(W, w), (W, w))
    slot = (W + shaking)[n : 2 * n]
    made = networks.nine_numbers(W + shaking, w)[0][n : 2 * n]
    torch.testing.assert_close(made[0, 0], slot.diagonal().mean())
    torch.testing.assert_close(made[1, 0], slot[~eye.bool()].mean())


def test_merging_keeps_a_pudding_and_deleting_breaks_it():
    n, gain = 8, 10.0
    eye = torch.eye(n, dtype=torch.float64)
    W = torch.cat([gain * eye, torch.full((n, n), -1e-3, dtype=torch.float64), gain * eye])
    w = torch.cat([torch.full((n,), 1 / gain), torch.full((n,), 2e3 / n), torch.full((n,), 1 / gain)]).double()
    x = X[:2048, :n]
    merged, without = networks.merge_linear(W, w)
    assert merged[0].shape == (2 * n + 1, n)
    assert networks.error(W, w, x) < 0.02
    assert networks.error(*merged, x) == pytest.approx(networks.error(W, w, x).item(), rel=0.05)
    assert networks.error(*without, x) > 0.5


def test_layout_pulls_owners_together():
    W, w = networks.double_sided(4)
    places = networks.layout(W, w)
    assert places.shape == (13, 2)
    assert torch.equal(places, networks.layout(W, w))
    distance = torch.cdist(places[:4], places[4:12])
    assert torch.equal(distance.topk(2, largest=False).indices.sort().values, torch.tensor([[i, i + 4] for i in range(4)]))


# ---- phases --------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 5), st.integers(1, 9), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_the_odd_part_of_a_network_is_a_line(n, h, seed):
    W, w, x = networks.normal(h, n, seed=seed).double(), networks.normal(h, seed=seed + 1).double(), X[:50, :n]
    odd = networks.outputs(W, w, x) - networks.outputs(W, w, -x)
    torch.testing.assert_close(odd, x @ (w[:, None] * W).sum(0))


def test_classifier_names_what_was_built():
    W, w = networks.convex(16, 2000, copies=2)
    once = [(networks.double_sided(16), DOUBLE), (networks.pudding(16), PLUS), (networks.pudding(16, -1), MINUS)]
    once += [(networks.plums(16, 1.0), PLUS), (networks.plums(16, 1.0, -1), MINUS)]
    cases = [(rows, out, rows, label) for (rows, out), label in once] + [(W[0], w[0], W[1], CONVEXITY)]
    for rows, out, other, label in cases:
        eps = scaled(rows, out, X[:4096])
        assert phases.classify(eps, phases.orders(rows, out, other, X[:4096])) == label


def test_networks_that_are_none_of_these_have_no_label():
    """Plums without a background, a good network with a large error, forty random neurons, and errors that are no number."""
    W, w = networks.convex(16, 40, copies=2)
    double = networks.double_sided(16)
    cases = [(*networks.plums(16, 0.0), None, 0.4), (*double, None, 0.6), (*double, None, math.nan), (W[0], w[0], W[1], 0.1)]
    for rows, out, other, eps in cases:
        found = phases.orders(rows, out, rows if other is None else other, X[:4096])
        assert phases.classify(torch.tensor(eps, dtype=torch.float64), found) == NONE


def test_order_parameters_are_their_definitions():
    """Against loops over neurons and inputs, for a batch."""
    W, w = networks.normal(2, 3, 6, 2, seed=1).double(), networks.normal(2, 3, 6, seed=2).double()
    other, x = networks.normal(2, 3, 6, 2, seed=3).double(), X[:200, :2]
    batch = phases.orders(W, w, other, x)
    for s in range(2):
        for b in range(3):
            A, a = W[s, b], w[s, b]
            left, all_of, heavy, sharp = torch.zeros(2).double(), 0.0, 0.0, 0.0
            for j in range(6):
                i = int(A[j].abs().argmax())
                left[i] += a[j] * A[j, i]
                all_of += abs(a[j] * A[j, i])
                heavy += abs(a[j]) * A[j].norm()
                sharp += abs(a[j]) * A[j].norm() * A[j, i] ** 2 / A[j].square().sum()
            v = (a[:, None] * A).sum(0)
            said = networks.outputs(A, a, x)
            expected = {
                "strongest": sharp / heavy,
                "doubled": 1 - left.abs().sum() / all_of,
                "background": 1 - v.abs().sum() / left.abs().sum(),
                "sign": left.sum() / left.abs().sum(),
                "redraw": 1 - torch.corrcoef(torch.stack([A.flatten(), other[s, b].flatten()]))[0, 1],
                "length": torch.corrcoef(torch.stack([said, x.norm(dim=1)]))[0, 1] ** 2,
                "taxicab": torch.corrcoef(torch.stack([said, x.abs().sum(1)]))[0, 1] ** 2,
            }
            for name, value in expected.items():
                torch.testing.assert_close(getattr(batch, name)[s, b], value)


def test_spins_of_a_disordered_pudding():
    s = torch.tensor([1.0, -1, -1, 1, 1])
    rows = torch.cat([10 * torch.diag(s), -1e-3 * s[None].repeat(2, 1)])
    out = torch.tensor([0.2] * 5 + [1e3] * 2)
    found = phases.spins(rows, out)
    assert torch.equal(found.sign, s)
    assert (found.doubled == 0).all()
    assert found.background == pytest.approx(1.0)
    assert networks.error(rows.double(), out.double(), X[:2048, :5]) < 0.02
    both = phases.spins(*networks.double_sided(4))
    torch.testing.assert_close(both.doubled, torch.ones(4, dtype=torch.float64))


# ---- surveys -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def survey():
    """Three hypernetworks at two prices: their first, whose networks we replace by two hand-built ones and a random one."""
    made = training.survey(generator.initial(3), 4, [1e-6, 1e-2])
    x = networks.normal(1000, 4, seed=3)
    W, w = made.W.clone(), made.w.clone()
    eye, none = torch.eye(4), torch.zeros(4, 4)
    W[:, 0] = torch.cat([10 * eye, -10 * eye, none])  # double-sided
    W[:, 1] = torch.cat([10 * eye, torch.full((4, 4), -1e-3), 10 * eye])  # pudding
    w[:, 0], w[:, 1] = 0.1, torch.cat([torch.full((4,), 0.1), torch.full((4,), 500.0), torch.full((4,), 0.1)])
    eps = torch.stack([networks.error(*network, x) for network in zip(W, w, strict=True)])
    return replace(made, W=W, w=w, eps=eps, orders=phases.orders(W[0], w[0], W[1], x))


def test_a_survey_names_and_finds(survey):
    assert survey.labels[:2].tolist() == [[DOUBLE, DOUBLE], [PLUS, PLUS]]
    assert survey.doubles.tolist()[:2] == [[True, True], [False, False]]
    assert survey.puddings.tolist()[:2] == [[False, False], [True, True]]
    assert torch.equal(survey.shares().sum(1), torch.ones(2, dtype=torch.float64))
    W, _, eps = survey.best(PLUS, slice(1, None))
    assert torch.equal(W, survey.W[0, 1, 1])
    assert eps == survey.eps[0, 1, 1]
    assert survey.best(MINUS, slice(None)) is None


def test_surgery_takes_the_puddings_only(survey):
    errors = training.surgery(survey, 0)
    assert errors.isnan().all(1).tolist() == [True, False, True]
    whole, merged, without = errors[1]
    assert merged == pytest.approx(whole.item(), rel=0.05)
    assert without > 0.5


def test_nine_numbers_tell_hand_built_networks(survey):
    retold = training.retold(survey, 0)
    torch.testing.assert_close(retold[:2], torch.ones(2))
    x = networks.normal(4000, 4, seed=0)
    said = networks.outputs(survey.W[0, 2, 0], survey.w[0, 2, 0], x)
    told = networks.outputs(*networks.nine_numbers(survey.W[0, 2, 0], survey.w[0, 2, 0]), x)
    expected = 1 - (said - told).square().mean() / (said - said.mean()).square().mean()
    torch.testing.assert_close(retold[2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: training.fit(Recipe(0, 10, [3])), "seeds = 0"),
        (lambda: Recipe(2, 0, [3]), "steps = 0"),
        (lambda: Recipe(2, 10, [1]), r"dims\[0\] = 1"),
        (lambda: Recipe(2, 10, []), "dims = "),
        (lambda: training.survey(generator.initial(1), 1, [1e-3]), "n = 1"),
        (lambda: training.survey(generator.initial(1), 3, []), "beta = "),
        (lambda: training.train_directly([-1.0], 2, 10), r"rates\[0\] = -1.0"),
        (lambda: phases.orders(torch.ones(4, 2), torch.ones(3), torch.ones(4, 2), torch.ones(3, 2)), "w, other = "),
        (lambda: phases.orders(torch.full((4, 2), math.nan), torch.ones(4), torch.ones(4, 2), torch.ones(3, 2)), "W = "),
    ],
)
def test_bad_input_is_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()
