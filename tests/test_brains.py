import itertools
import time
from dataclasses import replace

import pytest
import torch

from lib.kernels.rate import Packed, RateNetworks, RateTraining
from lib.papers import brains
from lib.papers.brains import FAMILIES, TASKS, TIMINGS, Member, Portrait, Training

SHORT, FULL = TIMINGS["short"], TIMINGS["full"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_stack(members, side, timing=SHORT, seed=1):
    """Networks in float64 with every parameter random, and a sheet for them."""
    place = brains.sheet(side, timing)
    place = replace(place, **{k: getattr(place, k).double() for k in ("lateral", "inputs", "outputs", "place")})
    count = brains.random_networks([0], place.units, timing.inputs, timing.outputs).theta.shape[1]
    theta = 0.2 * torch.randn(members, count, dtype=torch.float64, generator=rng(seed))
    return RateNetworks(theta, place.units, timing.inputs, timing.outputs), place


def exam(task, count, timing=SHORT, seed=0, **options):
    return brains.trials(torch.full((count,), TASKS.index(task)), timing, rng(seed), **options)


# --- tasks


@pytest.mark.parametrize("timing", [SHORT, FULL])
def test_every_trial_asks_to_wait_and_then_to_answer(timing):
    batch = brains.task_trials(timing, 50, 3)
    live = torch.arange(batch.x.shape[1]) < batch.length[:, None]
    fixating = (batch.x[..., 0] > 0.5) & live
    assert batch.x.shape == (1000, int(batch.length.max()), timing.inputs)
    assert (batch.y[fixating | ~live] == 0).all()
    assert batch.y.max() == timing.directions
    assert (batch.x[~live] == 0).all()
    rules = batch.x[..., 1 + 2 * timing.directions :]
    assert (rules[live].argmax(1) == batch.task[:, None].expand(live.shape)[live]).all()
    assert (batch.x[:, 0, 1 : 1 + 2 * timing.directions] == 0).all()  # nothing is shown at first
    reaching_or_deciding = batch.task < 16
    last = batch.y[torch.arange(1000), batch.length - 1]
    assert (last[reaching_or_deciding] > 0).all()


def test_periods_are_those_of_the_original():
    lengths = {name: set(exam(name, 200, FULL).length.tolist()) for name in TASKS}
    assert lengths["go"] == {15}
    assert lengths["rtgo"] == {10}
    assert lengths["dlyanti"] == {20}
    assert lengths["dm1"] == {9, 10, 11}
    assert lengths["dlydm1"] == {24, 25, 26}
    assert lengths["dmc"] == {32}
    share = (exam("dm1", 10_000, FULL).length == 9).float().mean().item()
    assert share == pytest.approx(1 / 3, abs=3 * (2 / 9 / 10_000) ** 0.5)
    assert exam("dm1", 50, FULL, aligned=True).length.unique().tolist() == [10]
    assert max(brains.task_trials(SHORT, 20, 0).length.tolist()) == 12


def test_reaching_goes_to_the_lamp_or_away_from_it():
    for name, turn in (("go", 0), ("rtgo", 0), ("dlygo", 0), ("anti", 8), ("rtanti", 8), ("dlyanti", 8)):
        batch = exam(name, 300, FULL)
        seen = batch.x[:, :, 1:33].sum(1).unflatten(1, (2, 16)).sum(1).argmax(1)
        answer = batch.y[torch.arange(300), batch.length - 1]
        assert torch.equal(answer - 1, (seen + turn) % 16)


@pytest.mark.parametrize(
    ("task", "heard"), [("ctxdm1", (0,)), ("ctxdm2", (1,)), ("multidm", (0, 1)), ("multidlydm", (0, 1))]
)
def test_decisions_follow_the_stronger_stimulus(task, heard):
    quiet = replace(FULL, noise=0.0)
    batch = exam(task, 10_000, quiet)
    evidence = batch.strength[:, 0, list(heard)].sum(1) - batch.strength[:, 1, list(heard)].sum(1)
    ties = evidence.abs() < 1e-4
    share = {"multidm": 1 / 8, "multidlydm": 1 / 6}.get(task, 0.0)
    assert ties.float().mean().item() == pytest.approx(share, abs=3 * (share * (1 - share) / 10_000) ** 0.5)
    if "dly" not in task:
        shown = batch.x[:, 4, 1:33].unflatten(1, (2, 16))[:, list(heard)].sum(1)
        clear = evidence.abs() > 0.3  # bumps that overlap cannot hide the stronger one
        answer = batch.y[torch.arange(10_000), batch.length - 1] - 1
        assert torch.equal(shown[clear].argmax(1), answer[clear])


def test_context_tasks_hide_nothing_and_single_tasks_use_one_ring():
    assert (exam("ctxdm1", 100).strength > 0).all()
    for name, other in (("dm1", 1), ("dlydm2", 0)):
        strength = exam(name, 100).strength
        assert (strength[:, :, other] == 0).all()
        assert (strength[:, :, 1 - other] > 0).all()


@pytest.mark.parametrize(("match", "nonmatch"), [("dms", "dnms"), ("dmc", "dnmc")])
def test_matching(match, nonmatch):
    quiet = replace(FULL, noise=0.0)
    for name in (match, nonmatch):
        batch = exam(name, 10_000, quiet)
        rings = batch.x[:, :, 1:33].unflatten(2, (2, 16)).sum(2)
        sample, test = rings[:, 5].argmax(1), rings[:, 20].argmax(1)
        if match == "dms":
            same = sample == test
            assert torch.equal(test[~same], (sample[~same] + 8) % 16)
        else:
            same = (sample > 8) == (test >= 8)  # the original's categories: 9 directions against 7, and 8 against 8
            assert (sample > 8).float().mean().item() == pytest.approx(7 / 16, abs=0.0149)
        assert same.float().mean().item() == pytest.approx(0.5, abs=0.015)
        answer = batch.y[torch.arange(10_000), batch.length - 1]
        respond = same if name == match else ~same
        assert torch.equal(answer, torch.where(respond, test + 1, 0))


def test_noise_comes_with_stimuli_only():
    batch = exam("dms", 4000, FULL)
    rings = batch.x[:, :, 1:33].unflatten(2, (2, 16))
    assert (rings[:, 8:18] == 0).all()  # the delay
    assert (rings[:, 23:] == 0).all()  # the decision
    used = (batch.strength[:, 0] > 0)[:, None, :, None]
    assert (rings * ~used == 0).all()
    far = rings[:, 3:8].sort(3).values[:, :, :, :9].masked_select(used)  # not at the bump, roughly
    assert far.std().item() > 0.03
    noisy = exam("dm1", 4000, FULL).x[:, 4, 0]
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05)
    assert exam("go", 100, FULL).x[:, :10, 0].eq(1).all()


def test_ceilings_of_the_ideal_observer():
    full, short = brains.ceilings(FULL), brains.ceilings(SHORT)
    assert full[6:10].tolist() == pytest.approx([0.965] * 4, abs=0.003)
    assert full[[10, 15]].tolist() == pytest.approx([0.917] * 2, abs=0.004)
    assert short[10].item() == pytest.approx(15 / 16, abs=0.004)
    assert short[15].item() == pytest.approx(11 / 12, abs=0.004)
    assert full[[0, 5, 11, 16, 19]].tolist() == pytest.approx([1] * 5, abs=1e-3)


def test_training_draws_context_tasks_more_often():
    weight = brains.mixture(4.0)
    assert weight.sum().item() == pytest.approx(1)
    assert weight[8] == 4 * weight[0]
    assert sorted(itertools.chain(*FAMILIES.values())) == list(range(20))


# --- networks


def cross_entropy(stack, batch):
    """A mean over all steps of the trials, (members,)."""
    return RateTraining(stack, lambda step: Packed(*batch.packed())).losses()


def test_members_of_a_stack_equal_networks_trained_alone():
    place = brains.sheet(4, SHORT)
    members = [Member(0, 1e-3), Member(1, 1e-3, 5.0, swaps=True), Member(2, lateral=False)]
    training = Training(30, batch=16, every=10, most=5)
    together = brains.grow(members, place, SHORT, training, [10])
    assert together.steps == [10, 30]
    assert together.find(Member(7, 1e-3, 5.0, swaps=True)).tolist() == [1]
    for i, member in enumerate(members):
        alone = brains.grow([member], place, SHORT, training, [10])
        for a, b in zip(together.history, alone.history, strict=True):
            torch.testing.assert_close(a.theta[[i]], b.theta, rtol=1e-3, atol=1e-4)
    W = together.final.parts()[0][2]
    assert torch.equal(W, W.diagonal().diag())


def test_training_learns_and_the_price_thins():
    place = brains.sheet(5, SHORT)
    growth = brains.grow([Member(0), Member(0, 3e-3)], place, SHORT, Training(150, batch=48), [0])
    test = brains.task_trials(SHORT, 20, 9)
    before, after = (cross_entropy(stack, test) for stack in growth.history)
    assert after[0] < 0.6 * before[0]
    length = brains.wiring(growth.final, place)
    assert length[1] < 0.9 * length[0]


def test_a_growth_knows_which_unit_sits_where():
    """The rate is too low to learn: a network differs from its first state by where its units sit, and by nothing else."""
    place = brains.sheet(4, SHORT)
    training = Training(20, rate=1e-9, batch=4, every=5, most=3)
    growth = brains.grow([Member(3, 1e-3, 5.0, swaps=True), Member(4)], place, SHORT, training, [0, 6])
    assert torch.equal(growth.seats[0], torch.arange(16).expand(2, -1))
    assert not torch.equal(growth.seats[-1][0], growth.seats[0][0])
    assert torch.equal(growth.seats[-1][1], growth.seats[0][1])
    for stack, seats in zip(growth.history, growth.seats, strict=True):
        torch.testing.assert_close(stack.theta, brains.reseat(growth.history[0], seats).theta, rtol=0, atol=1e-6)
    second = growth.only(torch.tensor([1]))
    assert second.members == [Member(4)]
    torch.testing.assert_close(second.final.theta, growth.final.theta[[1]])


def test_retraining_learns_the_tasks_it_is_given():
    place = brains.sheet(5, SHORT)
    growth = brains.grow([Member(0), Member(0, 1e-4)], place, SHORT, Training(5, batch=8))
    after = brains.retrain(growth, place, SHORT, Training(150, 2e-2, 32), tasks=FAMILIES["reach"], at=[0, 10])
    assert after.steps == [0, 10, 150]
    torch.testing.assert_close(after.history[0].theta, growth.final.theta)
    right = brains.accuracy(after.final, brains.task_trials(SHORT, 40, 3)) - brains.accuracy(
        growth.final, brains.task_trials(SHORT, 40, 3)
    )
    reach, others = right[:, :6].mean(), right[:, 6:].mean()
    assert reach > others + 0.1
    with pytest.raises(ValueError, match="tasks"):
        brains.retrain(growth, place, SHORT, Training(5), tasks=[20])


# --- swaps


def test_all_gains_at_once_equal_brute_force():
    stack, place = random_stack(2, 5)
    problem = brains.wires(stack, place)
    found = brains.gains(problem)
    for member in range(2):
        torch.testing.assert_close(found[member], brains.gains_plain(problem, member), rtol=1e-10, atol=1e-10)


def test_the_cost_is_that_of_every_wire():
    stack, place = random_stack(1, 3)
    W, U, _, V, _ = (part[0] for part in stack.parts())
    slow = sum(
        W[i, j].abs() * (place.place[i] - place.place[j]).abs().sum() for i in range(9) for j in range(9)
    )  # a unit's own wire has no length
    slow += (U.abs() * place.inputs).sum() + (V.abs() * place.outputs).sum()
    assert brains.wires(stack, place).cost()[0].item() == pytest.approx(slow.item())


def test_exchanging_never_lengthens_and_leaves_the_function_alone():
    stack, place = random_stack(3, 5)
    problem = brains.wires(stack, place)
    moved = brains.exchange(problem)
    assert (moved.costs.diff(dim=0) <= 0).all()
    seated = brains.reseat(stack, moved.order)
    torch.testing.assert_close(moved.costs[-1], brains.wires(seated, place).cost())
    torch.testing.assert_close(moved.costs[-1], problem.seated(moved.order).cost())
    assert brains.gains(brains.wires(seated, place)).min() > -1e-5 * moved.costs[0].max()  # no exchange helps
    assert torch.equal(moved.after(len(moved.pairs)), moved.order)
    assert torch.equal(moved.after(0), torch.arange(25).expand(3, -1))
    torch.testing.assert_close(moved.costs[4], problem.seated(moved.after(4)).cost())
    x, _, counts = brains.task_trials(SHORT, 2, 1).packed()
    torch.testing.assert_close(stack(x.double(), counts), seated(x.double(), counts))


def test_a_limit_stops_exchanges():
    stack, place = random_stack(2, 5)
    assert len(brains.exchange(brains.wires(stack, place), 3).pairs) == 3


def test_greedy_exchanges_solve_an_easy_seating():
    """Units that are wired to outputs alone: Hungarian assignment is optimal, and exchanges come close."""
    from scipy.optimize import linear_sum_assignment

    stack, place = random_stack(1, 5)
    problem = replace(brains.wires(stack, place), S=torch.zeros(1, 25, 25, dtype=torch.float64))
    rows, columns = linear_sum_assignment(problem.L[0].numpy())
    best = problem.L[0][rows, columns].sum().item()
    assert best <= brains.exchange(problem).costs[-1, 0].item() <= 1.02 * best


def test_all_gains_at_once_are_far_faster_than_one_by_one():
    """At 400 units the brute force needs all 79,800 pairs; a sample of 20 is timed. Measured: over ten thousand times."""
    stack, place = random_stack(1, 20)
    problem = brains.wires(stack, place)
    fast = []
    for _ in range(3):
        start = time.process_time()
        brains.gains(problem)
        fast.append(time.process_time() - start)
    start = time.process_time()
    for i in range(20):
        order = torch.arange(400)
        order[[i, 399 - i]] = order[[399 - i, i]]
        problem.seated(order[None]).cost()
    slow = (time.process_time() - start) / 20 * 400 * 399 / 2
    assert slow > 1000 * min(fast)


# --- anatomy


def test_task_variance_against_a_plain_loop():
    stack, _ = random_stack(1, 3)
    batch = brains.task_trials(SHORT, 4, 2, aligned=True)
    found = brains.task_variance(stack, replace(batch, x=batch.x.double()))
    W, U, b, _, _ = (part[0] for part in stack.parts())
    for k in (0, 11, 19):
        h, states = torch.zeros(4, 9, dtype=torch.float64), []
        for t in range(int(batch.length[4 * k])):
            h = torch.relu(h @ W.T + batch.x[4 * k : 4 * k + 4, t].double() @ U.T + b)
            states.append(h)
        torch.testing.assert_close(found[0, :, k], torch.stack(states).var(1).mean(0))


def test_accuracy_looks_at_the_last_step_and_lesions_remove_units():
    stack, _ = random_stack(2, 4)
    stack = replace(stack, theta=stack.theta.float())
    batch = brains.task_trials(SHORT, 5, 2)
    right = torch.zeros(2, 20)
    for i in range(100):
        x = batch.x[i, : batch.length[i]]
        logits = stack(x, [1] * len(x))[:, -1]
        right[:, i // 5] += (logits.argmax(1) == batch.y[i, batch.length[i] - 1]).float() / 5
    torch.testing.assert_close(brains.accuracy(stack, batch), right)
    masks = torch.zeros(3, 16, dtype=torch.bool)
    masks[1, 3], masks[2] = True, True
    drops = brains.lesions(stack[[0]], batch, masks)
    assert (drops[0] == 0).all()
    theta = stack[[0]].theta.clone()
    cut = replace(stack[[0]], theta=theta)
    W, U, b, _, _ = cut.parts()
    W[:, 3], U[:, 3], b[:, 3] = 0, 0, 0
    torch.testing.assert_close(drops[1], right[0] - brains.accuracy(cut, batch)[0])


def test_clusters_find_groups_and_order_them_by_task():
    features = torch.zeros(12, 20)
    features[:4, 15], features[4:8, 2], features[8:, 9] = 1.0, 1.0, 1.0
    features += 0.01 * torch.rand(12, 20, generator=rng())
    assert brains.clusters(features, 3).tolist() == [2] * 4 + [0] * 4 + [1] * 4
    portrait = Portrait(features, torch.arange(12), features, brains.clusters(features, 3), torch.rand(12, 2))
    assert portrait.silhouette > 0.9
    assert int(portrait.silhouettes(6).argmax()) + 2 == 3


def test_a_perfect_map_and_none():
    side = 8
    grid = torch.cartesian_prod(torch.arange(side), torch.arange(side)).float() / side
    quarter = (grid[:, 0] >= 0.5).long() * 2 + (grid[:, 1] >= 0.5).long()
    spread = brains.scatter(grid, quarter)
    assert spread.ratio == pytest.approx(0.25, abs=0.03)
    assert spread.z < -10
    assert brains.isolated(grid, quarter, 1.5 / side).value == 0
    chart = brains.map_correlation(grid, grid)
    assert chart.value == pytest.approx(1, abs=1e-4)
    assert chart.z > 10
    stripes = torch.arange(64) % 2
    assert brains.isolated(torch.arange(64.0)[:, None], stripes, 1.5).value == 1
    W = (quarter[:, None] == quarter).float()
    assert brains.coupling(W, quarter).value == pytest.approx(1)


def test_scatter_is_the_sum_of_squares_about_the_centres():
    place, labels = torch.rand(20, 2, generator=rng()), torch.arange(20) % 3
    slow = sum((place[labels == k] - place[labels == k].mean(0)).square().sum() for k in range(3))
    assert brains.scatter(place, labels).value == pytest.approx(slow.item(), rel=1e-5)


def test_shuffles_are_calibrated():
    """Random labels are not special: their z are like draws of a standard normal."""
    place = torch.rand(60, 2, generator=rng(3))
    z = []
    for seed in range(20):
        labels = torch.randint(7, (60,), generator=rng(seed))
        z.append([brains.scatter(place, labels, 300, seed).z, brains.isolated(place, labels, 0.15, 300, seed).z])
    z = torch.tensor(z)
    assert z.abs().max() < 3.5
    assert z.mean(0).abs().max() < 0.7


def test_wiring_pruning_and_strength_by_distance():
    stack, place = random_stack(2, 4)
    W, U, _, V, _ = brains.prune(stack, 0.2).parts()
    assert all(((part == 0) | (part.abs() > 0.2)).all() for part in (W, U, V))
    torch.testing.assert_close(brains.wiring(brains.prune(stack, 0.2), place, 0.0), brains.wiring(stack, place, 0.2))
    lengths, strength = brains.strength_by_distance(stack, place)
    assert lengths.tolist() == pytest.approx([k / 4 for k in range(7)])
    torch.testing.assert_close(strength[:, 0], stack.parts()[0].diagonal(dim1=1, dim2=2).abs().mean(1))
    pairs = brains.strongest(stack.parts()[0][0], 5)
    S = stack.parts()[0][0].abs()
    sums = (S + S.T)[pairs[:, 0], pairs[:, 1]]
    assert sums[0] == (S + S.T).triu(1).max()
    assert (sums.diff() <= 0).all()


def test_lesion_masks_have_the_sizes_of_the_clusters():
    features = torch.rand(10, 20, generator=rng())
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    active = torch.arange(3, 13)
    variance = torch.zeros(16, 20)
    portrait = Portrait(variance, active, features, labels, torch.rand(10, 2, generator=rng(1)))
    clusters, chance = brains.lesion_masks(portrait, 4)
    assert clusters.sum(1).tolist() == [5, 3, 2]
    assert chance.sum(1).tolist() == [5] * 4 + [3] * 4 + [2] * 4
    for masks in (clusters, chance):
        assert not masks[:, :3].any()
        assert not masks[:, 13:].any()


def test_unevenness_of_known_lesions():
    alike, alone = torch.full((1, 20), 0.5), torch.zeros(1, 20)
    alone[0, list(FAMILIES["match"])] = 0.8
    assert brains.unevenness(alike) == pytest.approx(0)
    assert brains.unevenness(alone) == pytest.approx(3**0.5)
    assert brains.unevenness(torch.zeros(2, 20)) != brains.unevenness(torch.zeros(2, 20))  # NaN: no lesion hurts


def test_the_null_of_the_silhouette_has_no_clusters():
    """Profiles in three tight groups lose them when each task's variances are dealt at random; noise has nothing to lose."""
    features = torch.zeros(60, 20)
    features[:20, 3], features[20:40, 9], features[40:, 15] = 1.0, 1.0, 1.0
    features += 0.05 * torch.rand(60, 20, generator=rng())
    place = torch.rand(60, 2)
    sharp = Portrait(features, torch.arange(60), features, brains.clusters(features, 3), place)
    assert sharp.silhouette > sharp.null_silhouette(5) + 0.2
    noise = torch.rand(60, 20, generator=rng(1))
    dull = Portrait(noise, torch.arange(60), noise, brains.clusters(noise, 3), place)
    assert dull.silhouette == pytest.approx(dull.null_silhouette(20), abs=0.03)


def test_halfway_by_hand():
    steps, course = [0, 10, 20, 40], torch.tensor([[0.0, 0.0, 1.0, 2.0], [1.0, 3.0, 3.0, 3.0], [1.0, 2.0, 0.5, 0.5]])
    found = brains.halfway(steps, course)
    assert found.tolist() == [20, 5, 40]


def test_the_cheapest_network_of_an_error_by_hand():
    """Errors that fall and rise with the price; one curve that is above most levels, and one that is below."""
    error = torch.tensor([[0.2, 0.1, 0.3, 0.5], [0.9, 0.8, 0.9, 0.9], [0.1, 0.1, 0.1, 0.05]])
    wire = torch.tensor([[90.0, 60.0, 40.0, 20.0], [90.0, 60.0, 40.0, 20.0], [90.0, 60.0, 40.0, 20.0]])
    found = brains.cheapest(error, wire, torch.tensor([0.05, 0.1, 0.2, 0.4, 0.6]))
    torch.testing.assert_close(found[0], torch.tensor([60.0, 60, 50, 30, 20]))
    torch.testing.assert_close(found[1], torch.full((5,), 60.0))
    torch.testing.assert_close(found[2], torch.full((5,), 20.0))


# --- bad input


@pytest.mark.parametrize("task", [[], [20], [-1, 3]])
def test_unknown_tasks_are_refused(task):
    with pytest.raises(ValueError, match=r"task = .*expected"):
        brains.trials(torch.tensor(task, dtype=torch.int64), SHORT, rng())


@pytest.mark.parametrize("bad", [{"steps": 0}, {"batch": 1.5}, {"every": 0}, {"most": -1}])
def test_bad_training_is_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}.* = .*expected"):
        Training(**({"steps": 2, "batch": 4} | bad))


@pytest.mark.parametrize("bad", [{"at": [99]}, {"members": []}])
def test_bad_growth_is_refused(bad):
    good = {"members": [Member()], "place": brains.sheet(2, SHORT), "timing": SHORT, "training": Training(2, batch=4)}
    with pytest.raises(ValueError, match=f"{next(iter(bad))}.* = .*expected"):
        brains.grow(**(good | bad))


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"theta = .*expected"):
        RateNetworks(torch.zeros(2, 5), 4, 3, 2)
    with pytest.raises(ValueError, match="side = 1"):
        brains.sheet(1, SHORT)
    with pytest.raises(ValueError, match="context = "):
        brains.mixture(-1.0)
    with pytest.raises(ValueError, match="each = "):
        brains.task_trials(SHORT, 1, 0)
