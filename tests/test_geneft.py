"""GenEFT: bits by counting, samplers against enumeration, repons against integration, the trainer against a loop."""

import math
import time
from itertools import permutations, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.kernels.optimisers import SGD, Adam
from lib.papers import geneft
from lib.papers.geneft import RELATIONS
from lib.papers.geneft.autoencoder import YES, per_parameter
from lib.papers.geneft.inference import _components, _flips

MOD3, MOD5, GREATER, BIPARTITE = RELATIONS


def stack(mode="concatenation", loss="bce", depth=2, widths=(5, 9, 7), dim=2):
    names, fractions = [MOD3, GREATER, BIPARTITE], [0.1, 0.3, 0.2]
    return geneft.students(
        names, fractions, [1, 2, 3], widths=widths, depth=depth, mode=mode, loss=loss, dim=dim, dtype=torch.float64
    )


# ---- statics ---------------------------------------------------------------------------------------------------------


def test_description_lengths_of_thirty_entities():
    exact = [geneft.description_length(name)[0] for name in RELATIONS]
    assert exact == pytest.approx([39.75, 53.34, 107.71, 24.84], abs=0.01)
    approximate = [geneft.description_length(name)[1] for name in RELATIONS]
    assert approximate == pytest.approx([47.55, 69.66, 107.71, 27.55], abs=0.01)


@pytest.mark.parametrize(
    ("name", "n"), [(MOD3, 3), (MOD3, 6), (MOD5, 5), (GREATER, 6), (GREATER, 7), (BIPARTITE, 3), (BIPARTITE, 6)]
)
def test_automorphisms_counted_by_hand_give_the_bits(name, n):
    table = geneft.relation(name, n)
    count = sum(torch.equal(table, table[list(p)][:, list(p)]) for p in permutations(range(n)))
    assert geneft.description_length(name, n)[0] == pytest.approx(math.log2(math.factorial(n) / count), abs=1e-9)


def test_relations_say_what_their_names_say():
    i, j = np.indices((30, 30))
    assert np.array_equal(geneft.relation(MOD3), (i - j) % 3 == 0)
    assert np.array_equal(geneft.relation(MOD5), (i - j) % 5 == 0)
    assert np.array_equal(geneft.relation(GREATER), i < j)
    assert np.array_equal(geneft.relation(BIPARTITE), (i < 10) != (j < 10))


def test_more_pairs_keep_the_old_ones():
    few, many = geneft.draw_pairs([0.2, 0.5], [4, 4])
    assert few.sum() == 180
    assert many.sum() == 450
    assert not (few & ~many).any()


def test_crossings():
    found = geneft.crossings([0, 1, 2], [[[0.1, 0.8, 1.0], [0.95, 1, 1]], [[0, 0.1, 0.2], [0.9, 0.2, 1.0]]])
    assert found.flatten().tolist() == pytest.approx([1.5, 0.0, math.nan, 0.0], nan_ok=True)


# ---- exact inference -------------------------------------------------------------------------------------------------


def enumerated(name, seen):
    """Accuracy of exact inference by going through all relabellings of the table: 6 entities have 720."""
    truth = geneft.relation(name, len(seen)).numpy()
    tables = {table.tobytes(): table for p in permutations(range(len(seen))) if (table := truth[np.ix_(p, p)]) is not None}
    agree = np.array([t for t in tables.values() if np.array_equal(t[seen], truth[seen])])
    yes = agree.mean(0)[~seen]
    return np.maximum(yes, 1 - yes).mean()


@pytest.mark.parametrize("name", [MOD3, GREATER, BIPARTITE])
def test_samplers_agree_with_enumeration(name):
    seen = geneft.draw_pairs([0.1, 0.2, 0.4], [5, 6, 7], entities=6)
    expected = [enumerated(name, s.numpy()) for s in seen]
    found = geneft.bayes_accuracy(name, seen, chains=64, sweeps=1000, seed=1)
    assert found.tolist() == pytest.approx(expected, abs=0.025)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=6), st.integers(0, 1000))
def test_flips_keep_the_sum(balance, seed):
    balance = torch.tensor([balance + [0] * 12])
    signs = _flips(balance, torch.Generator().manual_seed(seed))
    assert (signs.abs() == 1).all()
    assert (signs * balance).sum() == balance.sum()


def test_flips_are_uniform():
    balance = torch.tensor([2, -1, 1, 1, -2, 0, 0])
    allowed = [s for s in product((1, -1), repeat=7) if (torch.tensor(s) * balance).sum() == balance.sum()]
    drawn = _flips(balance.expand(20000, -1), torch.Generator().manual_seed(0))
    counts = [(drawn == torch.tensor(s)).all(1).sum().item() for s in allowed]
    assert sum(counts) == 20000
    assert max(counts) / min(counts) < 1.25


def test_components_are_those_of_networkx():
    import networkx

    generator = torch.Generator().manual_seed(0)
    links = (torch.rand(5, 12, 12, generator=generator) < 0.08).triu(1)
    links |= links.mT.clone()
    for label, link in zip(_components(links), links, strict=True):
        parts = list(networkx.connected_components(networkx.from_numpy_array(link.numpy())))
        assert {frozenset(p) for p in parts} == {frozenset(np.flatnonzero(label == v).tolist()) for v in label.unique()}
        assert all(label[v] == min(p) for p in parts for v in p)


# ---- repons ----------------------------------------------------------------------------------------------------------


def test_closed_form_conservation_and_the_arctan_law():
    A, r = geneft.draw_repons(200, 1, 1, seed=3)
    ends = geneft.repon_flow(A, r, 0.3, 0.7, 2000, step=0.005)
    a, c = geneft.closed_form(A[:, 0, 0].numpy(), r[:, 0].numpy(), 0.3, 0.7, 10.0)
    assert abs(a - ends[0][:, 0, 0].numpy()).max() < 1e-6
    assert abs(c - ends[1][:, 0].numpy()).max() < 1e-6
    before, after = (geneft.conserved(*pair, 0.3, 0.7) for pair in ((A, r), ends))
    assert ((after - before) / before).abs().max() < 1e-6
    A, r = geneft.draw_repons(200_000, 1, 1, seed=4)
    for slope in (0.25, 0.5, 1.0, 2.0, 4.0):
        ratio = 1 / (2 * slope**2)
        collided = (geneft.conserved(A, r, ratio, 1.0)[:, 0, 0] > 0).double().mean().item()
        assert collided == pytest.approx(2 / math.pi * math.atan(slope), abs=0.005)
        assert geneft.collision_probability(ratio) == pytest.approx(2 / math.pi * math.atan(slope), abs=1e-12)


@pytest.mark.parametrize("a0", [0.5, 0.5 + 1e-9, 0.7, 0.3])
def test_closed_form_near_and_on_the_dividing_line(a0):
    a, c = geneft.closed_form(a0, 0.5, 0.5, 1.0, np.array([0.0, 1.0, 1e6]))
    assert np.isfinite([a, c]).all()
    assert a[0] == a0
    assert c[0] == 0.5
    assert a[1] ** 2 - c[1] ** 2 == pytest.approx(a0**2 - 0.25, abs=1e-9)


@pytest.mark.parametrize(("d", "k"), [(2, 1), (2, 2), (3, 5)])
def test_general_law(d, k):
    A, r = geneft.draw_repons(20_000, d, k, seed=5)
    free = (torch.linalg.eigvalsh(geneft.conserved(A, r, 0.4, 1.0))[:, 0] > 0).double().mean().item()
    assert free == pytest.approx(float(geneft.collision_probability(0.4, d, k)), abs=0.015)
    A, r = A[:50], r[:50]
    reached = geneft.repon_flow(A, r, 0.4, 1.0, 1500)[1].norm(dim=1)
    left = (-torch.linalg.eigvalsh(geneft.conserved(A, r, 0.4, 1.0))[:, 0] / 2).clamp(min=0).sqrt()
    assert (reached - left).abs().median() < 2e-3


# ---- the trainer -----------------------------------------------------------------------------------------------------


def train_one_by_one(problem, encoder_rate, decoder_rate, steps, optimiser=torch.optim.Adam, every=50):
    """The plain reference of `train_graph_autoencoder`: a loop over members, autograd, torch.optim.

    Rates are (members,) each. Returns the accuracies (S, 2, members).
    """
    networks = [(E, [(W[k], b[k]) for W, b in layers]) for Es, layers in problem.unpack() for k, E in enumerate(Es)]
    histories = []
    for m, (start, layers) in enumerate(networks):
        E = torch.nn.Parameter(start.clone())
        linear = []
        for W, b in layers:
            linear.append(torch.nn.Linear(*W.T.shape, dtype=W.dtype))
            linear[-1].weight.data, linear[-1].bias.data = W.clone(), b.clone()
        pieces = [piece for each in linear for piece in (each, torch.nn.Tanh())]
        decoder = torch.nn.Sequential(*pieces[:-1])
        steer = optimiser(
            [
                {"params": [E], "lr": float(encoder_rate[m])},
                {"params": decoder.parameters(), "lr": float(decoder_rate[m])},
            ]
        )
        i, j = problem.seen[m].nonzero(as_tuple=True)
        y = problem.labels[m].to(E.dtype)
        rows, cols = torch.ones_like(y).nonzero(as_tuple=True)
        history = []

        def say(i, j, E=E, decoder=decoder):
            a, b = E[i], E[j]
            x = torch.cat([a, b], 1) if problem.mode == "concatenation" else a - b
            return decoder(x.square() if problem.mode == "squared difference" else x)[:, 0]

        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                right = (say(rows, cols).view_as(y) > YES[problem.loss]) == problem.labels[m]
                history.append([right[part].double().mean().item() for part in (problem.seen[m], ~problem.seen[m])])
            steer.zero_grad()
            f, t = say(i, j), y[i, j]
            loss = F.mse_loss(f, t) if problem.loss == "mse" else F.binary_cross_entropy_with_logits(f, t)
            loss.backward()
            steer.step()
        histories.append(history)
    return torch.tensor(histories).permute(1, 2, 0)


@pytest.mark.parametrize(
    ("ours", "theirs", "rates"), [(Adam, torch.optim.Adam, (3e-3, 1e-3)), (SGD, torch.optim.SGD, (1.0, 0.2))]
)
def test_members_together_equal_one_by_one(ours, theirs, rates):
    model = stack(depth=3)
    encoder, decoder = (torch.tensor([1.0, 2.0, 0.5]) * rate for rate in rates)
    run = geneft.train_graph_autoencoder(model, encoder, decoder, 200, optimiser=ours, every=20)
    assert torch.equal(run.accuracies, train_one_by_one(model, encoder, decoder, 200, optimiser=theirs, every=20))
    assert run.accuracies[-1, 0].min() > run.accuracies[0, 0].min()


def test_a_member_does_not_see_the_others():
    model = stack()
    run = geneft.train_graph_autoencoder(model, 1e-2, 1e-3, 60)
    alone = geneft.students([GREATER], [0.3], [2], widths=9, depth=2, dtype=torch.float64)
    assert torch.equal(alone.theta, model.select(torch.tensor([1])).theta)
    alone = geneft.train_graph_autoencoder(alone, 1e-2, 1e-3, 60)
    assert torch.allclose(alone.problem.points[0], run.problem.points[1], rtol=1e-9, atol=1e-12)


def test_compaction_changes_no_phase():
    rates = torch.tensor([3e-2, 1e-5, 1e-2])
    model = geneft.students([MOD3] * 3, [0.7] * 3, [0, 1, 2], widths=12)
    whole, less = (geneft.train_graph_autoencoder(model, rates, 3e-3, 500, every=25, stop=stop) for stop in (None, 0.92))
    assert torch.equal(geneft.phases(whole), geneft.phases(less))
    assert set(geneft.phases(less).tolist()) >= {0}
    gone = (less.accuracies >= 0.92).all(1).int().argmax(0)[0]
    assert gone > 0
    assert torch.equal(less.accuracies[gone, :, 0], less.accuracies[-1, :, 0])


def test_many_networks_are_faster_together():
    model = geneft.students([MOD3] * 32, [0.3] * 32, range(32), widths=10)
    few = model.select(torch.arange(2))
    marks = []
    for call in (
        lambda: geneft.train_graph_autoencoder(model, 1e-3, 1e-3, 100),
        lambda: train_one_by_one(few, [1e-3] * 2, [1e-3] * 2, 100),
    ):
        start = time.process_time()
        call()
        marks.append(time.process_time() - start)
    assert marks[1] / 2 > 4 * marks[0] / 32


# ---- measures --------------------------------------------------------------------------------------------------------


def test_phases_by_their_definitions():
    steps = torch.tensor([0, 500, 1000, 2000])
    seen = torch.tensor([[0.5, 0.95, 1, 1], [0.5, 0.95, 1, 1], [0.5, 0.95, 1, 1], [0.5, 0.6, 0.6, 0.6]])
    unseen = torch.tensor([[0.5, 0.8, 0.95, 1], [0.5, 0.5, 0.5, 0.95], [0.5, 0.6, 0.7, 0.8], [0.5, 0.5, 0.5, 0.5]])
    run = geneft.Training(None, steps, torch.stack([seen, unseen]).permute(2, 0, 1), [])
    assert [geneft.PHASES[p] for p in geneft.phases(run)] == ["generalization", "grokking", "memorization", "confusion"]


def test_gradient_flow_conserves_the_matrix():
    model = stack(loss="mse", depth=2)
    speeds = per_parameter(model, 3.0, 0.3)
    grad = model.gradient(model.theta)[1]
    flow = []
    for h in (0.1, -0.1):  # dQ/dt by central differences, exact as Q is quadratic
        moved = model.with_theta(model.theta - h * speeds * grad)
        parts = geneft.conserved_parts(moved, 3.0, 0.3)
        flow.append(torch.stack([parts[0], parts[1], parts[0] - parts[1]]))
    speed = (flow[0] - flow[1]) / 0.2
    assert speed[2].abs().max() < 1e-9 * speed[0].abs().max()


def test_pairs_that_met():
    problem = geneft.students([MOD3], [0.5], [0])
    corners = torch.tensor([[0.0, 0], [4, 0], [0, 4]])[torch.arange(30) % 3]
    corners[:3] += torch.tensor([2.5, 2.5])  # one entity of each class stands apart from its nine fellows
    problem.unpack()[0][0].copy_(corners)
    assert geneft.collided(problem).item() == pytest.approx(36 / 45)


def test_the_true_curve_of_a_family_explains_all():
    log_ratio, spreads = torch.linspace(0, 3, 9).double(), torch.tensor([0.5, 2.0, 8.0]).double()
    curves = geneft.arctan_curves(log_ratio, spreads)
    share, which = geneft.explained(curves, torch.stack([curves[1], geneft.step_curves(log_ratio, spreads)[1]]))
    assert which[0] == 1
    assert share[0].item() == pytest.approx(1)
    assert share[1] < 0.9
    assert geneft.straight(log_ratio, torch.stack([2 - 3 * log_ratio, (log_ratio - 1.5) ** 2])).tolist() == pytest.approx(
        [1, 0]
    )
    assert geneft.explained(curves, curves[1] + torch.tensor([1e3]).double())[0] < 0, "no curve is shifted to fit"


@pytest.mark.parametrize(("slope", "place"), [(1.0, 1.0), (1.8, 0.5)])
def test_the_boundary_is_found_where_it_was_drawn(slope, place):
    e, d = (g.flatten().double() for g in torch.meshgrid(torch.arange(-4, 0, 0.5), torch.arange(-4, 0, 0.5), indexing="ij"))
    odds = -6 * (d - slope * (e - e.mean()) - e.mean() - place)
    found = geneft.boundary(e, d, torch.sigmoid(odds))
    assert found[0].item() == pytest.approx(slope, abs=0.03)
    assert found[1].item() == pytest.approx(place, abs=0.03)
    sharp = geneft.boundary(e, d, (odds > 0).double().expand(2, 3, -1))
    assert sharp[0].shape == (2, 3)
    assert sharp[0][0, 0].item() == pytest.approx(slope, abs=0.3)


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: geneft.relation("equal mod 4"), "name"),
        (lambda: geneft.relation(MOD3, 31), "entities"),
        (lambda: geneft.draw_pairs([1.5], [0]), "fraction"),
        (lambda: geneft.draw_pairs([0.5, 0.5], [0]), "fractions"),
        (lambda: geneft.draw_pairs([0.5], [-1]), "seeds"),
        (lambda: geneft.students([MOD3], [0.5], [0], widths=[5, 5]), "widths"),
        (lambda: geneft.students([MOD3], [0.5], [0], mode="sum"), "mode"),
        (lambda: geneft.students([MOD3], [0.5], [0], depth=-1), "depth"),
        (lambda: geneft.students([MOD3], [0.5], [0], spread=-1.0), "spread"),
        (lambda: geneft.students([MOD3], [0.5], [0], loss="hinge"), "loss"),
        (lambda: geneft.train_graph_autoencoder(stack(), -1.0, 1.0, 10), "rate"),
        (lambda: geneft.train_graph_autoencoder(stack(), 1.0, 1.0, 0), "steps"),
        (lambda: geneft.train_graph_autoencoder(stack(), 1.0, 1.0, 10, every=0), "every"),
        (lambda: geneft.bayes_accuracy(MOD3, geneft.draw_pairs([0.5], [0]), chains=1), "chains"),
        (lambda: geneft.collision_probability(1.0, dim=0), "dim"),
        (lambda: geneft.conserved_parts(stack("difference"), 1.0, 1.0), "mode"),
        (lambda: geneft.graph_autoencoder(torch.zeros(1, 30, 30), geneft.draw_pairs([0.5], [0]), [0]), "labels"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call()
