import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.papers import grokking
from lib.papers.grokking.model import jacobian_penalty, nonlinearity_penalty


def tail_and_points(members=2, count=24, outputs=5, width=7, seed=0):
    """A random SiLU tail in float64, the points it starts from, and its matrix W3."""
    generator = torch.Generator().manual_seed(seed)
    x, W, b = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((members, count, width), (members, outputs, width), (members, 1, outputs))
    )
    return lambda z: torch.baddbmm(b, F.silu(2 * z), W.mT), 1.5 * x, W


def slice_of(history, member):
    return {name: t[:, member] for name, t in history.parameters.items()}


# ---- the measure ---------------------------------------------------------------------------------------------------------


@given(order=st.integers(2, 8), grid=st.integers(9, 41))
@settings(max_examples=20, deadline=None)
def test_gauss_rule_averages_polynomials_over_the_grid(order, grid):
    nodes, transform = grokking.gauss_rule(order, grid)
    lam = np.linspace(0, 1, grid)
    for power in range(2 * order):
        assert transform[0] @ nodes**power == pytest.approx((lam**power).mean(), rel=1e-10)


@given(st.lists(st.floats(-3, 3), min_size=5, max_size=5))
@settings(max_examples=30, deadline=None)
def test_r2_of_polynomials_is_that_of_the_grid(coefficients):
    poly = np.polynomial.Polynomial([0, 1.0, *coefficients])
    lam = np.linspace(0, 1, 21)
    y, ends = poly(lam), torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)
    expected = np.corrcoef(y, lam)[0, 1] ** 2 if y.var() > 1e-8 else None
    f = lambda z: sum(c * z**k for k, c in enumerate(poly.coef))  # noqa: E731
    if expected is not None:
        assert grokking.linearity(f, ends, order=7).item() == pytest.approx(expected, abs=1e-8)


def test_linearity_equals_the_definition_pair_by_pair():
    f, x, _ = tail_and_points(members=1)
    plain = grokking.linearity_plain(f, x)
    whole = grokking.matrix(grokking.linearity(f, x, order=21), x.shape[1])[0]
    six = grokking.matrix(grokking.linearity(f, x), x.shape[1])[0]
    torch.testing.assert_close(whole, plain, rtol=0, atol=1e-9)
    assert grokking.lmn(six).item() == pytest.approx(grokking.lmn(plain).item(), rel=1e-3)


def test_members_blocks_and_pairs_do_not_matter():
    f, x, _W = tail_and_points(members=3)
    whole = grokking.linearity(f, x)
    for m in range(3):
        single = grokking.linearity(lambda z, m=m: f(z.expand(3, -1, -1))[m : m + 1], x[m : m + 1])
        torch.testing.assert_close(single[0], whole[m])
    torch.testing.assert_close(grokking.linearity(f, x, block=7), whole)
    some = torch.randperm(whole.shape[1])[:20]
    pairs = torch.triu_indices(24, 24, 1)[:, some]
    torch.testing.assert_close(grokking.linearity(f, x, pairs.flip(0)), whole[:, some])


def test_no_more_pairs_than_a_block_exist_at_once():
    f, x, _ = tail_and_points()
    seen = []

    def watched(z):
        seen.append(z.shape[1])
        return f(z)

    grokking.linearity(watched, x, block=16)
    assert max(seen) == 16 * 6
    assert sum(seen) == 24 * 23 // 2 * 6


def test_affine_maps_clusters_parabolas_and_constants():
    x = torch.randn(1, 30, 4, dtype=torch.float64)
    W = torch.randn(4, 3, dtype=torch.float64)
    assert grokking.lmn(grokking.matrix(grokking.linearity(lambda z: z @ W + 1, x), 30)).item() == pytest.approx(1, abs=1e-6)
    for c in (2, 5):
        L = torch.block_diag(*[torch.ones(6, 6, dtype=torch.float64)] * c)
        assert grokking.lmn(L).item() == pytest.approx(c, abs=1e-6)
        assert grokking.renyi2(L).item() == pytest.approx(c)
    ends = torch.tensor([[[-1.0], [1.0]]], dtype=torch.float64)
    assert grokking.linearity(lambda z: z**2, ends).item() < 1e-6
    assert grokking.linearity(lambda z: 0 * z + 3, ends).item() == 1


def test_linearity_ignores_scale_and_shift_of_outputs():
    f, x, _ = tail_and_points()
    a, b = torch.randn(5, dtype=torch.float64) + 3, torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(grokking.linearity(lambda z: f(z) * a + b, x), grokking.linearity(f, x), rtol=1e-8, atol=1e-8)


def test_linearity_is_differentiable_also_where_an_output_is_constant():
    f, x, _ = tail_and_points(count=4)
    x = x.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: grokking.linearity(f, z, order=4), (x,), fast_mode=True)
    (grad,) = torch.autograd.grad(grokking.linearity(lambda z: f(z) * 0, x).sum(), x)
    assert torch.isfinite(grad).all()


def test_jacobian_features_are_cosines_of_jacobians():
    generator = torch.Generator().manual_seed(1)
    W2, W3, h = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((2, 8, 6), (2, 5, 8), (2, 11, 6)))
    features = grokking.jacobian_features(h @ W2.mT, W2, W3)
    for m in range(2):
        tail = lambda v, m=m: W3[m] @ F.silu(W2[m] @ v)  # noqa: E731
        J = torch.func.vmap(torch.func.jacrev(tail))(h[m]).flatten(1)
        J = J / J.norm(dim=1, keepdim=True)
        torch.testing.assert_close(features[m] @ features[m].T, J @ J.T, rtol=0, atol=1e-6)
        gram = grokking.effective_number(torch.linalg.eigvalsh(J @ J.T))
        assert grokking.jacobian_lmn(h @ W2.mT, W2, W3)[m].item() == pytest.approx(gram.item(), rel=1e-6)


def test_estimates_agree_with_all_pairs_within_their_errors():
    f, x, _ = tail_and_points(members=3, count=60)
    L = grokking.matrix(grokking.linearity(f, x), 60)
    few, many = (grokking.estimate(f, x, n, seed=3) for n in (500, 8000))
    for guess in (few, many):
        assert ((guess[0] - grokking.nonlinearity(L)).abs() < 4 * guess[1]).all()
        assert ((guess[2] - grokking.renyi2(L)).abs() < 4 * guess[3]).all()
    assert ((few[1::2] / many[1::2] - 4).abs() < 1).all()


def test_shuffling_keeps_the_entries():
    f, x, _ = tail_and_points(members=1)
    L = grokking.matrix(grokking.linearity(f, x), 24)[0]
    other = grokking.shuffle(L)
    i, j = torch.triu_indices(24, 24, 1)
    torch.testing.assert_close(other[i, j].sort().values, L[i, j].sort().values)
    assert torch.equal(other, other.T)
    assert not torch.equal(other, L)


def test_blocks_are_much_faster_than_a_loop_over_pairs():
    f, x, _ = tail_and_points(members=1, count=80, outputs=31, width=100)
    x = x.float()
    g = lambda z: f(z.double()).float()  # noqa: E731
    grokking.linearity(g, x)
    start = time.process_time()
    grokking.linearity(g, x)
    fast = (time.process_time() - start) / (80 * 79)
    start = time.process_time()
    grokking.linearity_plain(g, x[:, :12])
    assert (time.process_time() - start) / (12 * 11) > 10 * fast


# ---- the networks --------------------------------------------------------------------------------------------------------


def test_tables_are_the_groups_they_say():
    s4 = grokking.answers("s4")
    n = torch.arange(24)
    assert s4.shape == (24, 24)
    assert torch.equal(s4.sort(0).values, n[:, None].expand(24, 24))
    a, b, c = torch.meshgrid(n, n, n, indexing="ij")
    assert torch.equal(s4[s4[a, b], c], s4[a, s4[b, c]])
    assert not torch.equal(s4, s4.T)
    assert grokking.answers("addition", 7)[5, 4] == 2
    assert grokking.answers("xor")[21, 13] == 21 ^ 13


def plain_network(p):
    """One member of `p` as a module of torch, with the embedding looked up and concatenated."""
    tokens, size = p["E"].shape
    layers = nn.ModuleDict({"e": nn.Embedding(tokens, size)})
    for k in "123":
        layers[k] = nn.Linear(*p["W" + k].shape[::-1])
    layers.double()
    with torch.no_grad():
        layers["e"].weight.copy_(p["E"])
        for k in "123":
            layers[k].weight.copy_(p["W" + k]), layers[k].bias.copy_(p["b" + k])

    def forward(inputs):
        h = layers["e"](torch.stack([inputs // tokens, inputs % tokens], 1)).flatten(1)
        return layers["3"](F.silu(layers["2"](F.silu(layers["1"](h)))))

    return layers, forward


def test_training_equals_a_plain_module_and_each_member_its_own():
    seeds, decay, scale = [3, 3, 4], torch.tensor([0.1, 1.0, 0.5]), torch.tensor([1.0, 0.2, 0.5])
    sizes = {"modulus": 7, "width": 9, "embedding": 4, "dtype": torch.float64}
    history = grokking.grok("addition", seeds, 25, decay=decay, scale=scale, rate=1e-2, at=[0, 10], **sizes)
    table = grokking.answers("addition", 7).flatten()
    parts = grokking.split(seeds, 49, 0.8)
    for m in range(3):
        layers, forward = plain_network({k: t[0] for k, t in slice_of(history, m).items()})
        optimiser = torch.optim.AdamW(layers.parameters(), 1e-2, weight_decay=decay[m].item())
        for _ in range(25):
            optimiser.zero_grad()
            F.cross_entropy(forward(parts[0][m]), table[parts[0][m]]).backward()
            optimiser.step()
        for k in "123":
            torch.testing.assert_close(history.parameters["W" + k][-1, m], layers[k].weight.detach(), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(history.parameters["E"][-1, m], layers["e"].weight.detach(), rtol=1e-5, atol=1e-7)
        for k, part in enumerate(parts):
            logits = forward(part[m]).detach()
            expected = F.cross_entropy(logits, table[part[m]]).item()
            assert history.losses[-1, m, k].item() == pytest.approx(expected, rel=1e-5)
            right = (logits.argmax(1) == table[part[m]]).double().mean().item()
            assert history.accuracies[-1, m, k].item() == pytest.approx(right)
        norm = sum(t.detach().square().sum() for t in layers.parameters()).sqrt().item()
        assert history.norms[-1, m].item() == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("kind", ["nonlinearity", "jacobian"])
def test_penalties_measure_what_they_say_and_go_down(kind):
    p = grokking.networks(7, [0, 1], width=9, embedding=4, dtype=torch.float64)
    z, pairs = grokking.points(p, 1), torch.tensor([[0, 5, 9], [3, 4, 40]])
    if kind == "nonlinearity":
        expected = 1 - grokking.linearity(grokking.tail(p, 1), z, pairs, order=4).mean(1)
        torch.testing.assert_close(nonlinearity_penalty(p, z, pairs), expected)
    else:
        h = F.silu(grokking.points(p, 0))[0, pairs[0]]
        tail = lambda v: p["W3"][0] @ F.silu(p["W2"][0] @ v + p["b2"][0])  # noqa: E731
        J = torch.func.vmap(torch.func.jacrev(tail))(h)
        assert jacobian_penalty(p, z, pairs)[0].item() == pytest.approx(J.square().sum((1, 2)).mean().item() / 7)
    free, pushed = (
        grokking.grok(
            "addition", [0], 60, decay=0.0, penalty=kind, strength=s, pairs=32, modulus=7, width=9, embedding=4, rate=1e-2
        )
        for s in (0.0, 10.0)
    )
    size = {"nonlinearity": nonlinearity_penalty, "jacobian": jacobian_penalty}[kind]
    ends = [size(h.networks(60), grokking.points(h.networks(60), 1), pairs).item() for h in (free, pushed)]
    assert ends[1] < 0.5 * ends[0]


def test_segments_may_start_behind_the_affine_map():
    """LMN from the raw embeddings, and from the activations of the hidden layers, is what the shortcuts give."""
    p = grokking.networks(7, [0], width=9, embedding=4, dtype=torch.float64)
    tokens = torch.arange(49)
    x = torch.cat([p["E"][0, tokens // 7], p["E"][0, tokens % 7]], 1)[None]
    layer = lambda k, h: h @ p[f"W{k}"].mT + p[f"b{k}"].unsqueeze(1)  # noqa: E731
    whole = lambda h: layer(3, F.silu(layer(2, F.silu(layer(1, h)))))  # noqa: E731
    h1 = F.silu(layer(1, x))
    h2 = F.silu(layer(2, h1))
    for cut, f, start in ((0, whole, x), (1, lambda h: layer(3, F.silu(layer(2, h))), h1), (2, lambda h: layer(3, h), h2)):
        expected = grokking.matrix(grokking.linearity(f, start), 49)
        torch.testing.assert_close(grokking.mapping_matrix(p, cut=cut), expected, rtol=1e-7, atol=1e-7)
    assert grokking.lmn(grokking.mapping_matrix(p, cut=2)).item() == pytest.approx(1, abs=1e-6)
    assert grokking.lmn(grokking.mapping_matrix(p, cut=2, output="logprob")).item() > 1.001


def test_chosen_inputs_are_rows_of_the_table():
    p = grokking.networks(7, [0, 1], width=9, embedding=4)
    chosen = torch.tensor([[3, 40], [0, 48]])
    whole = grokking.first(p)
    torch.testing.assert_close(grokking.first(p, chosen), torch.stack([whole[0, chosen[0]], whole[1, chosen[1]]]))


def test_phases_and_fits():
    steps = torch.arange(0, 60, 10)
    accuracy = torch.tensor([[0.1, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.6], [1.0, 0.995], [1.0, 1.0]])
    stuck = torch.tensor([[0.1, 0.0]] * 2 + [[1.0, 0.2]] * 4)
    never = torch.zeros(6, 2)
    accuracies = torch.stack([accuracy, stuck, never], 1)
    history = grokking.History(steps, {}, accuracies, accuracies, accuracies[:, :, 0])
    assert history.reached(0.99, "test").tolist() == [40, -1, -1]
    mask = grokking.phase(history)
    assert mask.T.tolist() == [[False, True, True, True, True, False], [False, False, True, True, True, True], [False] * 6]
    x, y = torch.randn(2, 6, 3, dtype=torch.float64)
    r2 = grokking.fits(x, y, mask)
    for m in range(2):
        inside = mask[:, m]
        assert r2[m].item() == pytest.approx(np.corrcoef(x[inside, m], y[inside, m])[0, 1] ** 2)
    assert r2[2].isnan()


def test_pattern_distances_pair_by_pair():
    p = grokking.networks(4, [0, 1], width=9, embedding=4, dtype=torch.float64)
    z = grokking.points(p, 1)[1]
    unlike, like, turned = [], [], []
    for a in range(4):
        for b in range(4):
            for k in (1, 2):
                d = (z[4 * (a ^ k) + (b ^ k)] - z[4 * a + b]).square().sum().item()
                (unlike if (a & k) != (b & k) else like).append(d)
                turned += [(z[4 * (a ^ k) + b] - z[4 * a + b]).square().sum().item()]
                turned += [(z[4 * a + (b ^ k)] - z[4 * a + b]).square().sum().item()]
    expected = [np.sqrt(np.mean(d) / np.mean(turned)) for d in (unlike, like)]
    assert grokking.pattern_distances(p, bits=2)[:, 1].tolist() == pytest.approx(expected)


def test_tied_outputs_pair_by_pair():
    p = grokking.networks(4, [0], width=9, embedding=4, dtype=torch.float64)
    inputs = torch.arange(0, 16, 2)
    z, f = grokking.points(p, 1, inputs[None]), grokking.tail(p, 1)
    y, counted, tied, every = f(z)[0], [], 0.0, 0.0
    for i, j in torch.triu_indices(8, 8, 1).T.tolist():
        for k in range(4):
            bent = 1 - grokking.linearity(lambda s, k=k: f(s)[:, :, k : k + 1], z[:, [i, j]]).item()
            counted.append(abs(y[i, k] - y[j, k]).item() < 0.5 * y.std().item())
            tied, every = tied + bent * counted[-1], every + bent
    expected = (np.mean(counted), tied / every)
    assert 0.1 < expected[0] < 0.9
    assert grokking.tied_outputs(p, inputs, width=0.5) == pytest.approx(expected)


def test_a_folded_sheet_keeps_lengths_within_a_piece_and_shortens_across():
    x, y = torch.rand(2, 200, 2, dtype=torch.float64) * 2 - 1
    before, after = (x - y).norm(dim=1), (grokking.fold(x) - grokking.fold(y)).norm(dim=1)
    assert (after <= before + 1e-12).all()
    near = grokking.fold(x + 1e-9) - grokking.fold(x)
    torch.testing.assert_close(near.norm(dim=1), torch.full((200,), 2**0.5 * 1e-9, dtype=torch.float64), rtol=1e-5, atol=0)


def test_splits_and_subsets():
    train, test = grokking.split([0, 1], 50, 0.8)
    assert train.shape == (2, 40)
    assert torch.equal(torch.cat([train, test], 1).sort(1).values, torch.arange(50).expand(2, 50))
    assert not torch.equal(train[0], train[1])
    chosen = grokking.subset(50, 20)
    assert len(chosen.unique()) == 20
    assert len(grokking.subset(50, 80)) == 50


# ---- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"task": "subtraction"}, "task"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"modulus": 1}, "modulus"),
        ({"share": 0.0}, "share"),
        ({"share": float("nan")}, "share"),
        ({"penalty": "dropout"}, "penalty"),
        ({"rate": -1.0}, "rate"),
        ({"decay": torch.tensor([0.1, 0.2, 0.3])}, "decay"),
    ],
)
def test_bad_training_is_refused(bad, name):
    good = {"task": "addition", "seeds": [0], "steps": 2, "modulus": 5, "width": 4, "embedding": 2}
    with pytest.raises(ValueError, match=rf"^{name}.*expected"):
        grokking.grok(**good | bad)


def test_bad_measurements_are_refused():
    f, x, _ = tail_and_points()
    for call in (
        lambda: grokking.linearity(f, x[0]),
        lambda: grokking.linearity(f, x * float("nan")),
        lambda: grokking.linearity(f, x, block=0),
        lambda: grokking.linearity(f, x, order=1),
        lambda: grokking.linearity(f, x, torch.zeros(2, 0, dtype=torch.long)),
        lambda: grokking.estimate(f, x, 1),
        lambda: grokking.gauss_rule(22),
        lambda: grokking.subset(10, 1),
        lambda: grokking.jacobian_features(x, x[0], x),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
