import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.kernels.embedding import Embedded
from lib.kernels.problems import Problem
from lib.papers import grokking
from lib.papers.grokking.mappings import effective_number, gauss_rule, jacobian_features, jacobian_lmn
from lib.papers.grokking.model import Straightened, first, networks, nonlinearity_penalty
from lib.papers.grokking.xor import SETTING


def tail_and_points(members=2, count=24, outputs=5, width=7, seed=0):
    """A random SiLU tail in float64, the points it starts from, and its matrix W3."""
    generator = torch.Generator().manual_seed(seed)
    x, W, b = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((members, count, width), (members, outputs, width), (members, 1, outputs))
    )
    return lambda z: torch.baddbmm(b, F.silu(2 * z), W.mT), 1.5 * x, W


def tiny(seeds, steps=25, **options):
    """Settings of small networks in float64."""
    sizes = {"modulus": 7, "width": 9, "embedding": 4, "rate": 1e-2, "dtype": torch.float64}
    return grokking.Setting(seeds, steps, **sizes | options)


def slice_of(history, member):
    return {name: t[:, member] for name, t in history.parameters.items()}


# ---- the measure ---------------------------------------------------------------------------------------------------------


@given(order=st.integers(2, 8), grid=st.integers(9, 41))
@settings(max_examples=20, deadline=None)
def test_gauss_rule_averages_polynomials_over_the_grid(order, grid):
    nodes, transform = gauss_rule(order, grid)
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
    features = jacobian_features(h @ W2.mT, W2, W3)
    for m in range(2):
        tail = lambda v, m=m: W3[m] @ F.silu(W2[m] @ v)  # noqa: E731
        J = torch.func.vmap(torch.func.jacrev(tail))(h[m]).flatten(1)
        J = J / J.norm(dim=1, keepdim=True)
        torch.testing.assert_close(features[m] @ features[m].T, J @ J.T, rtol=0, atol=1e-6)
        gram = effective_number(torch.linalg.eigvalsh(J @ J.T))
        assert jacobian_lmn(h @ W2.mT, W2, W3)[m].item() == pytest.approx(gram.item(), rel=1e-6)


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


@pytest.mark.parametrize(("decay", "scale"), [(0.1, 1.0), (1.0, 0.2)])
def test_training_equals_a_plain_module_and_each_member_its_own(decay, scale):
    seeds = [3, 5]
    history = grokking.grok("addition", tiny(seeds, at=[0, 10], decay=decay, scale=scale))
    table = grokking.answers("addition", 7).flatten()
    parts = grokking.split(seeds, 49)
    for m in range(2):
        layers, forward = plain_network({k: t[0] for k, t in slice_of(history, m).items()})
        optimiser = torch.optim.AdamW(layers.parameters(), 1e-2, weight_decay=decay)
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


def test_the_penalty_measures_what_it_says_and_goes_down():
    p = networks(7, tiny([0, 1]))
    z, pairs = grokking.points(p, 1), torch.tensor([[0, 5, 9], [3, 4, 40]])
    expected = 1 - grokking.linearity(grokking.tail(p, 1), z, pairs, order=4).mean(1)
    torch.testing.assert_close(nonlinearity_penalty(p, z, pairs), expected)
    free, pushed = (grokking.grok("addition", tiny([0], 60, decay=0.0), straightening=s, pairs=32) for s in (1e-9, 10.0))
    ends = [nonlinearity_penalty(h.networks(60), grokking.points(h.networks(60), 1), pairs).item() for h in (free, pushed)]
    assert ends[1] < 0.5 * ends[0]


def test_a_penalty_of_nothing_changes_nothing():
    """The loss by autograd, which the penalty needs, and the fused one are the same."""
    fused, by_hand = (grokking.grok("addition", tiny([0, 1])), grokking.grok("addition", tiny([0, 1]), straightening=1e-12))
    for name, t in fused.parameters.items():
        torch.testing.assert_close(by_hand.parameters[name], t, rtol=1e-6, atol=1e-8)


def test_a_push_has_the_gradient_of_its_loss():
    """Part by the fused kernel and part by autograd, and all of it by autograd."""
    seen = torch.tensor([[[0, 1], [2, 2], [1, 0]], [[2, 0], [1, 1], [0, 2]]])
    theta = 0.5 * torch.randn(2 * (12 + 45 + 30 + 18), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    task = Embedded(theta, 3, 4, ((2, (8, 5, 5, 3)),), seen, seen.sum(2) % 3, torch.full((2, 3), 1 / 3, dtype=torch.float64))
    pushed = Straightened(task, strength=0.7, pairs=5, seed=0, reported=9)
    for step in (0, 3):
        expected = Problem.gradient(pushed, theta, step)
        for found, plain in zip(pushed.gradient(theta, step), expected, strict=True):
            torch.testing.assert_close(found, plain)


def test_the_pairs_of_a_step_depend_on_the_step_alone():
    """Where one records, which computes losses in between, does not change the training."""
    often, seldom = (grokking.grok("addition", tiny([0], at=at), straightening=1.0, pairs=8) for at in (list(range(25)), []))
    for name, t in often.parameters.items():
        assert torch.equal(t[-1], seldom.parameters[name][-1])


def test_an_affine_tail_keeps_all_answers_and_a_bent_one_those_of_least_squares():
    p = networks(7, tiny([0, 1]))
    inputs = grokking.split([0, 1], 49)[0]
    found = grokking.straight_answers(p, "addition", inputs, 7)
    table = grokking.answers("addition", 7).flatten()
    for m in range(2):
        z = grokking.points(p, 1, inputs)[m].numpy()
        X = np.c_[z, np.ones(len(z))]
        fitted = X @ np.linalg.lstsq(X, grokking.tail(p, 1)(torch.from_numpy(z)[None].expand(2, -1, -1))[m].numpy())[0]
        assert found[m].item() == pytest.approx(np.mean(fitted.argmax(1) == table[inputs[m]].numpy()))


def test_segments_may_start_behind_the_affine_map():
    """LMN from the raw embeddings, and from the activations of the hidden layers, is what the shortcuts give."""
    p = networks(7, tiny([0]))
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
    p = networks(7, tiny([0, 1]))
    chosen = torch.tensor([[3, 40], [0, 48]])
    whole = first(p)
    torch.testing.assert_close(first(p, chosen), torch.stack([whole[0, chosen[0]], whole[1, chosen[1]]]))


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
    values = torch.arange(18.0).reshape(6, 3)
    assert history.read(values, history.generalised).nan_to_num(-1).tolist() == [12, -1, -1]
    assert history.memorised.tolist() == [10, 20, -1]
    assert history.compression.tolist() == [[10, 20, 50], [40, 50, 50]]  # the last step where it never came to that


def test_turning_points_come_after_generalising():
    steps = torch.arange(0, 60, 10)
    accuracies = torch.tensor([0, 0, 1.0, 1, 1, 1])[:, None, None].expand(6, 1, 2)
    history = grokking.History(steps, {}, accuracies, accuracies, accuracies[:, :, 0])
    values = torch.tensor([1.0, 9, 5, 3, 7, 6])[:, None]
    assert [int(t) for t in grokking.turning_points(history, values)] == [3, 4]


def test_pattern_distances_pair_by_pair():
    p = networks(4, tiny([0, 1]))
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
    assert grokking.pattern_distances(p)[1].tolist() == pytest.approx(expected)


def test_the_recorded_run_is_what_the_command_gives():
    """Its first moments are trained again; they are measured as the record was."""
    history, curves = grokking.recorded()
    again = grokking.grok("xor", replace(SETTING, steps=62, at=SETTING.at[:2]))
    assert again.steps.tolist() == history.steps[:3].tolist()
    assert history.steps.tolist() == SETTING.at
    torch.testing.assert_close(again.losses, history.losses[:3], rtol=1e-6, atol=0)
    torch.testing.assert_close(again.norms, history.norms[:3], rtol=1e-6, atol=0)
    first = grokking.lmn(grokking.mapping_matrix(again.networks(62, 0))).item()
    assert curves["LMN"][2, 0].item() == pytest.approx(first, rel=1e-6)
    assert curves["ρ"][2, 0].tolist() == pytest.approx(grokking.pattern_distances(again.networks(62, 0))[0].tolist())


def test_functions_have_the_pieces_slopes_and_norms_they_say():
    f = grokking.Pieces(3, 4, outputs=2)
    x = torch.rand(3, 40, 1, dtype=torch.float64)
    slopes = (f(x + 1e-7) - f(x)) / 1e-7
    expected = torch.take_along_dim(f.slopes, (x * 4).long(), 1)
    torch.testing.assert_close(slopes, expected, rtol=0, atol=1e-5)
    assert grokking.Pieces(2, 1).norms()[0].item() == pytest.approx(
        (2 * grokking.Pieces(2, 1).slopes[0].norm().item()) ** 0.5
    )
    one, two = (grokking.Pieces(3, 4, spread=s) for s in (0.0, 2.0))
    assert torch.equal(one.bytes(x), two.bytes(x))  # a size is no structure
    assert not torch.allclose(one.norms(), two.norms())
    L = [grokking.matrix(grokking.linearity(g, x, order=21), 40) for g in (one, two)]
    torch.testing.assert_close(L[0], L[1])


def test_splits_and_subsets():
    train, test = grokking.split([0, 1], 50)
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
        ({"straightening": -1.0}, "straightening"),
        ({"straightening": 1.0, "pairs": 0}, "pairs"),
        ({"rate": -1.0}, "rate"),
        ({"decay": -0.1}, "decay"),
    ],
)
def test_bad_training_is_refused(bad, name):
    bad = {"task": "addition"} | bad
    push = {key: bad.pop(key) for key in ("straightening", "pairs") if key in bad}
    with pytest.raises(ValueError, match=rf"^{name}.*expected"):
        grokking.grok(bad.pop("task"), tiny(bad.pop("seeds", [0]), bad.pop("steps", 2), **bad), **push)


def test_bad_measurements_are_refused():
    f, x, _ = tail_and_points()
    for call in (
        lambda: grokking.linearity(f, x[0]),
        lambda: grokking.linearity(f, x * float("nan")),
        lambda: grokking.linearity(f, x, block=0),
        lambda: grokking.linearity(f, x, order=1),
        lambda: grokking.linearity(f, x, torch.zeros(2, 0, dtype=torch.long)),
        lambda: gauss_rule(22),
        lambda: grokking.subset(10, 1),
        lambda: jacobian_features(x, x[0], x),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
