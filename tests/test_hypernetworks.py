import math
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.papers import hypernetworks as hyper
from lib.papers.hypernetworks import CONVEXITY, DOUBLE, MINUS, PLUS, UNTRAINED

X = hyper.normal(1 << 15, 16, seed=3).double()


def random_draws(S, B, n, code, seed=0, dtype=torch.float64):
    """Addresses, noise and prices for S hypernetworks at B prices, random."""
    addresses = hyper.sphere(hyper.normal(S, B, n, code, seed=seed)).to(dtype)
    noise = hyper.normal(S, B, n * code + 3 * n * (code + 2 + n), seed=seed + 1).to(dtype)
    beta = 10 ** (-7 * torch.rand(S, B, generator=torch.Generator().manual_seed(seed + 2), dtype=dtype))
    return beta, addresses, noise


def trainee(parameters, **settings):
    """Hypernetworks in training on the L1 norm."""
    loss = partial(hyper.objective, target="L1 norm", total=len(parameters["base"]), **settings)
    return hyper.Differentiable(loss, parameters)


def shaken(seeds, code=6, seed=0, dtype=torch.float64):
    """Hypernetworks whose every number is random, none zero."""
    parameters = hyper.initial(seeds, code, seed=seed)
    return {
        name: t.to(dtype) + 0.1 * hyper.normal(*t.shape, seed=i + 1).to(dtype)
        for i, (name, t) in enumerate(parameters.items())
    }


def plain_network(parameters, beta, addresses, noise):
    """One hypernetwork, one price, edge by edge: the generator's definition in loops. Returns W, w, nats."""
    n, code = addresses.shape
    h, silu = 3 * n, torch.nn.functional.silu
    u = 2 * (math.log10(beta) + 7) / 7 - 1
    phi = torch.tanh(u * parameters["rate"] + parameters["shift"])
    theta = parameters["base"] + phi @ parameters["turn"]
    p, start = {}, 0
    for name, shape in hyper.shapes(code).items():
        p[name] = theta[start : start + math.prod(shape)].view(shape)
        start += math.prod(shape)
    assert start == len(theta)
    c = torch.nn.functional.softplus(3 * (parameters["open"] + phi @ parameters["close"] - 2 * u)) / 3
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


@pytest.mark.parametrize(("n", "code"), [(3, 6), (4, 3)])
def test_generator_is_its_definition(n, code):
    parameters, drawn = shaken(2, code), random_draws(2, 2, n, code)
    W, w, nats = hyper.generate(parameters, *drawn)
    assert W.shape == (2, 2, 3 * n, n)
    for s in range(2):
        for b in range(2):
            one = {name: t[s] for name, t in parameters.items()}
            expected = plain_network(one, *(t[s, b] for t in drawn))
            for got, want in zip((W, w, nats), expected, strict=True):
                torch.testing.assert_close(got[s, b], want, rtol=1e-9, atol=1e-12)


def test_generator_has_the_documented_size():
    parameters = hyper.initial(1)
    assert parameters["base"].shape == (1, 1715)
    assert sum(t.numel() for t in parameters.values()) == 12115
    assert hyper.code_of(hyper.initial(1, code=9)) == 9


def test_generator_does_not_care_about_the_order_of_inputs():
    parameters, (beta, addresses, noise) = shaken(1), random_draws(1, 1, 4, 6)
    turn = torch.tensor([2, 0, 3, 1])
    hidden = (torch.arange(3)[:, None] * 4 + turn).flatten()
    ins, hid, slots, edges = noise.split([24, 72, 24, 48], 2)
    moved = [ins.view(4, 6)[turn], hid.view(12, 6)[hidden], slots.view(12, 2)[hidden], edges.view(12, 4)[hidden][:, turn]]
    moved = torch.cat([part.flatten() for part in moved])
    W, w, nats = hyper.generate(parameters, beta, addresses, noise)
    W2, w2, nats2 = hyper.generate(parameters, beta, addresses[:, :, turn], moved[None, None])
    torch.testing.assert_close(W2[0, 0], W[0, 0][hidden][:, turn])
    torch.testing.assert_close(w2[0, 0], w[0, 0][hidden])
    torch.testing.assert_close(nats2, nats)


def test_the_gradient_is_that_of_the_loss_over_a_fixed_denominator():
    """Against a difference quotient in float64."""
    model = trainee(shaken(2), steps=10, dims=(3,), seed=1, betas=1)
    theta, direction, t = model.theta, hyper.normal(model.theta.numel(), seed=4).double(), 1e-6

    def loss(theta):
        share, grad = model.gradient(theta, 9)  # of one price, l / (l + 0.02)
        return 0.02 * share / (1 - share), grad

    (losses, grad), (up, _), (down, _) = (loss(theta + side * t * direction) for side in (0, 1, -1))
    slope = (grad * direction).view(2, -1).sum(1)
    torch.testing.assert_close(slope, (up - down) / (2 * t) / (losses + 0.02), rtol=1e-5, atol=1e-8)


def test_training_learns_and_repeats():
    first, records = hyper.fit(2, 60, [3, 4], seed=1, at=[0], record=lambda step, p: (step, hyper.survey(p, 4, [1e-6]).eps))
    second, _ = hyper.fit(2, 60, [3, 4], seed=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [step for step, _ in records] == [0, 60]
    assert (records[-1][1] < records[0][1]).all()


def test_batched_step_is_faster_than_a_loop_over_seeds():
    def seconds(seeds, times):
        model = trainee(hyper.initial(seeds), steps=10, dims=(8,), seed=0)
        theta = model.theta
        model.gradient(theta, 0)
        begin = time.process_time()
        for step in range(times):
            model.gradient(theta, step)
        return (time.process_time() - begin) / times

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert 32 * min(seconds(1, 10) for _ in range(2)) > 2 * min(seconds(32, 4) for _ in range(2))
    finally:
        torch.set_num_threads(threads)


def test_hand_built_networks():
    assert hyper.variance("L1 norm", 16) == pytest.approx(X.abs().sum(1).var().item(), rel=0.03)
    errors = {gain: hyper.error(*hyper.double_sided(16, gain), X).item() for gain in (3.0, 5.0, 10.0)}
    assert [errors[gain] for gain in (3.0, 5.0, 10.0)] == pytest.approx([0.53, 0.099, 0.0079], rel=0.05)
    for sign in (1, -1):
        assert hyper.error(*hyper.pudding(16, sign), X) == pytest.approx(errors[10.0], rel=0.05)
    scan = torch.stack([hyper.error(*hyper.plums(16, share), X, fit=True) for share in (0, 0.5, 0.75, 1, 1.25, 1.5)])
    assert scan.tolist() == pytest.approx([2.55, 0.77, 0.27, 0.11, 0.31, 0.84], rel=0.12)


@given(st.integers(2, 12), st.floats(-0.5, 1.5), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_plums_compute_the_norm_of_what_is_left_of_the_mean(n, share, seed):
    x = hyper.normal(50, n, seed=seed).double()
    W, w = hyper.plums(n, share, gain=1e6)
    mean = x.mean(1, keepdim=True)
    expected = (x - share * mean).abs().sum(1) + (1 - share) * x.sum(1)
    torch.testing.assert_close(hyper.outputs(W, w, x), expected, rtol=1e-4, atol=1e-4)


def test_limits_of_the_errors():
    n = 400
    x = hyper.normal(8192, n, seed=5).double()
    assert hyper.error(*hyper.plums(n, 1.0), x, fit=True) * n == pytest.approx((math.pi - 1) / (math.pi - 2), rel=0.05)
    assert hyper.misfit(x.norm(dim=1), x, fit=True) == pytest.approx((math.pi - 3) / (math.pi - 2), rel=0.05)
    few = hyper.normal(4096, 4, seed=6).double()
    W, w = hyper.convex(4, 10000)
    assert hyper.error(W[0], w[0], few, fit=True) == pytest.approx(
        hyper.misfit(few.norm(dim=1), few, fit=True).item(), rel=0.1
    )


def test_classifier_names_what_was_built():
    W, w = hyper.convex(16, 2000, copies=2)
    once = [(hyper.double_sided(16), DOUBLE), (hyper.pudding(16), PLUS), (hyper.pudding(16, -1), MINUS)]
    once += [(hyper.plums(16, 1.0), PLUS), (hyper.plums(16, 1.0, -1), MINUS)]
    cases = [(rows, out, rows, label) for (rows, out), label in once] + [(W[0], w[0], W[1], CONVEXITY)]
    for rows, out, other, label in cases:
        eps = hyper.error(rows, out, X[:4096], fit=True)
        assert hyper.classify(eps, hyper.orders(rows, out, other)) == label
    zero = hyper.orders(*hyper.double_sided(16), hyper.double_sided(16)[0])
    assert hyper.classify(torch.tensor(1.5), zero) == UNTRAINED
    assert hyper.classify(torch.tensor(math.nan), zero) == UNTRAINED


def test_order_parameters_of_a_batch_are_those_of_each():
    W, w, other = (
        hyper.normal(2, 3, 6, 2, seed=1).double(),
        hyper.normal(2, 3, 6, seed=2).double(),
        hyper.normal(2, 3, 6, 2, seed=3).double(),
    )
    batch = hyper.orders(W, w, other)
    for name in ("strongest", "sign", "doubled", "redraw"):
        for s in range(2):
            for b in range(3):
                single = getattr(hyper.orders(W[s, b], w[s, b], other[s, b]), name)
                torch.testing.assert_close(getattr(batch, name)[s, b], single)
    redraw = 1 - torch.corrcoef(torch.stack([W[0, 0].flatten(), other[0, 0].flatten()]))[0, 1]
    torch.testing.assert_close(batch.redraw[0, 0], redraw)


def test_merging_keeps_a_pudding_and_deleting_breaks_it():
    n, gain = 8, 10.0
    eye = torch.eye(n, dtype=torch.float64)
    W = torch.cat([gain * eye, torch.full((n, n), -1e-3, dtype=torch.float64), gain * eye])
    w = torch.cat([torch.full((n,), 1 / gain), torch.full((n,), 2e3 / n), torch.full((n,), 1 / gain)]).double()
    x = X[:2048, :n]
    merged, without = hyper.merge_linear(W, w)
    assert merged[0].shape == (2 * n + 1, n)
    assert hyper.error(W, w, x) < 0.02
    assert hyper.error(*merged, x) == pytest.approx(hyper.error(W, w, x).item(), rel=0.05)
    assert hyper.error(*without, x) > 0.5


def test_spins_of_a_disordered_pudding():
    s = torch.tensor([1.0, -1, -1, 1, 1])
    rows = torch.cat([10 * torch.diag(s), -1e-3 * s[None].repeat(2, 1)])
    out = torch.tensor([0.2] * 5 + [1e3] * 2)
    found = hyper.spins(rows, out)
    assert torch.equal(found.sign, s)
    assert (found.doubled == 0).all()
    assert found.background == pytest.approx(1.0)
    assert hyper.error(rows.double(), out.double(), X[:2048, :5]) < 0.02
    both = hyper.spins(*hyper.double_sided(4))
    torch.testing.assert_close(both.doubled, torch.ones(4, dtype=torch.float64))


def test_ordinary_training():
    W, w, eps = hyper.train_directly([1e-3, 3e-2], 2, 150, 4)
    assert W.shape == (2, 2, 12, 4)
    assert w.shape == (2, 2, 12)
    assert (eps[1] < eps[0]).all()
    assert (eps[1] < 0.3).all()


def test_layout_pulls_owners_together():
    W, w = hyper.double_sided(4)
    places = hyper.layout(W, w)
    assert places.shape == (13, 2)
    assert torch.equal(places, hyper.layout(W, w))
    distance = torch.cdist(places[:4], places[4:12])
    assert torch.equal(distance.topk(2, largest=False).indices.sort().values, torch.tensor([[i, i + 4] for i in range(4)]))


@pytest.mark.parametrize("target", list(hyper.TARGETS))
def test_variances(target):
    values = hyper.TARGETS[target](hyper.normal(1 << 16, 5, seed=8))
    assert hyper.variance(target, 5) == pytest.approx(values.var().item(), rel=0.04)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: hyper.fit(0, 10, [3]), "seeds = 0"),
        (lambda: hyper.fit(2, 0, [3]), "steps = 0"),
        (lambda: hyper.fit(2, 10, [1]), r"dims\[0\] = 1"),
        (lambda: hyper.fit(2, 10, []), "dims = "),
        (lambda: hyper.fit(2, 10, [3], target="L3"), "target = 'L3'"),
        (lambda: hyper.fit(2, 10, [3], code=1), "code = 1"),
        (lambda: hyper.survey(hyper.initial(1), 1, [1e-3]), "n = 1"),
        (lambda: hyper.survey(hyper.initial(1), 3, [1e-3], draws=1), "draws = 1"),
        (lambda: hyper.train_directly([-1.0], 2, 10), r"rates\[0\] = -1.0"),
        (lambda: hyper.orders(torch.ones(4, 2), torch.ones(3), torch.ones(4, 2)), "w, other = "),
        (lambda: hyper.orders(torch.full((4, 2), math.nan), torch.ones(4), torch.ones(4, 2)), "W = "),
    ],
)
def test_bad_input_is_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_crossing():
    assert hyper.crossing([0.0, 1.0, 3.0], [-1.0, -1.0, 3.0]) == pytest.approx(1.5)
    assert math.isnan(hyper.crossing([0.0, 1.0], [-2.0, -1.0]))
    assert math.isnan(hyper.crossing([0.0, 1.0], [math.nan, math.nan]))


def test_likeness_recognises_the_norms():
    W, w = hyper.double_sided(16)
    random, out = hyper.convex(16, 2000)
    l1, l2 = hyper.likeness(W[None], w[None], X[:4096])
    assert l1 > 0.99 > l2
    l1, l2 = hyper.likeness(random, out, X[:4096])
    assert l2 > l1


def test_surgery_takes_the_puddings_only():
    survey = hyper.survey(hyper.initial(3), 4, [1e-6, 1e-2])
    assert hyper.surgery(survey, 0).shape == (0, 3)
    made = replace(
        survey,
        eps=torch.zeros_like(survey.eps),
        orders=replace(survey.orders, doubled=torch.zeros(3, 2), redraw=torch.zeros(3, 2)),
    )
    assert made.puddings.all()
    assert hyper.surgery(made, 1).shape == (3, 3)
    torch.testing.assert_close(made.free, made.beta * made.nats)
    assert torch.equal(made.shares().sum(1), torch.ones(2, dtype=torch.float64))
