import itertools
import json
import math
import re
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import nashpy
import numpy as np
import pytest
import sympy
import torch
from conftest import SMOKE, built
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.figures import disempowerment as drawings
from lib.papers.disempowerment import alliance, population, sequence
from lib.papers.disempowerment.games import agreement, halfway, narrower, pure_equilibria, uniform
from lib.reading import verdicts

PAGE = (Path(__file__).parents[1] / "book/disempowerment.md").read_text(encoding="utf-8")

# ---- what the games share ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [(2, 2), (3, 2), (2, 2, 2), (2, 3, 2, 2)])
def test_pure_equilibria_agree_with_trying_every_deviation(actions):
    payoffs = torch.randint(0, 4, (20, len(actions), *actions), generator=torch.Generator().manual_seed(0)).double()
    found = pure_equilibria(payoffs)
    for game in range(20):
        for profile in itertools.product(*map(range, actions)):
            best = all(
                payoffs[game, i][profile] >= payoffs[game, i][(*profile[:i], other, *profile[i + 1 :])]
                for i, count in enumerate(actions)
                for other in range(count)
            )
            assert found[(game, *profile)] == best


@pytest.mark.parametrize("shape", [(4, 2, 2), (4, 3, 2, 2), (0, 2, 2, 2), (4,)])
def test_pure_equilibria_refuse_other_shapes(shape):
    with pytest.raises(ValueError, match="payoffs"):
        pure_equilibria(torch.zeros(shape))


def test_a_world_is_a_part_of_every_box_and_its_games_lie_inside():
    boxes = {"a": (2, 3), "b": (-1, 0)}
    worlds = narrower(boxes, 300, 4, seed=1)
    drawn = uniform(worlds, (1200, 1), seed=2)
    for name, (low, high) in worlds.items():
        assert low.shape == high.shape == (1200, 1)
        assert (low.view(300, 4) == low.view(300, 4)[:, :1]).all()  # one range for all games of a world
        assert (boxes[name][0] <= low).all()
        assert (high <= boxes[name][1]).all()
        assert ((low <= drawn[name]) & (drawn[name] <= high)).all()
        assert (high - low).mean().item() == pytest.approx(1 / 3, abs=0.05)  # two uniform draws lie a third apart
    assert not torch.equal(worlds["a"][0] - 2, worlds["b"][0] + 1)


def test_a_world_agrees_if_unity_and_success_both_rise_and_is_silent_if_nothing_changes():
    unity = torch.tensor([[0.0, 0, 0], [1, 1, -1], [1, 0, 0], [1, -1, 0], [-1, 0, 0]])
    prevail = torch.tensor([[0.0, 0, 0], [1, 1, -1], [0, -1, 0], [1, 0, 0], [1, 0, 0]])
    assert agreement(unity.flatten(), prevail.flatten(), 5).tolist() == [0, 1, -1, -1, -1]


# ---- two people ----------------------------------------------------------------------------------------------------------


def by_the_tree(games):
    """Support and resistance when every pair of strategies is tried against the payoffs of the game tree."""
    at_stake, lost, belief = games.at_stake, games.stake_now, games.efficacy
    alone, together = belief * games.alone, belief * games.together
    future = [-(1 - alone) * at_stake, -(1 - together) * at_stake - games.cost_support]
    current = [[-lost] * 2, [-(1 - p) * lost - games.cost_resist for p in (alone, together)]]
    support = resist = torch.zeros_like(lost, dtype=torch.bool)
    for s, r in product((0, 1), (0, 1)):  # the last equilibrium found is the one that supports and resists
        perfect = (future[s] >= future[1 - s]) & (current[r][s] >= current[1 - r][s])
        support, resist = torch.where(perfect, bool(s), support), torch.where(perfect, bool(r), resist)
    return support, resist


@pytest.mark.parametrize("seed", [0, 1])
def test_the_equilibrium_of_two_agrees_with_trying_every_strategy(seed):
    games = alliance.draw(200_000, seed)
    for formula, tree in zip(alliance.equilibrium(games), by_the_tree(games), strict=True):
        assert torch.equal(formula, tree)


def one_alliance(**values):
    """One game, by numbers; what is not named is 0."""
    names = (f.name for f in fields(alliance.Alliance))
    return alliance.Alliance(**{n: torch.tensor([float(values.get(n, 0))], dtype=torch.float64) for n in names})


def test_ties_go_to_supporting_and_resisting():
    certain = dict.fromkeys(("awareness", "efficacy", "patience", "threat_patience"), 1)
    game = one_alliance(**certain, alone=0.25, together=0.75, stake_now=4, stake=4, cost_support=2, cost_resist=3)
    outcome = alliance.equilibrium(game)
    assert [v.item() for v in (*outcome, *by_the_tree(game))] == [True] * 4
    assert alliance.prevail(game, outcome).item() == 0.75


def test_normal_forms_of_a_hundred_games_have_the_equilibria_that_nashpy_finds():
    games = alliance.draw(20_000, seed=3)
    payoffs = alliance.normal_form(games)
    pure = pure_equilibria(payoffs)
    two = pure[:, 0, 0] & pure[:, 1, 1]
    chosen = torch.cat([two.nonzero()[:50, 0], (~two).nonzero()[:50, 0]])
    assert len(chosen) == 100
    gain = games.efficacy * (games.together - games.alone)
    joins = (games.cost_resist / games.stake_now - games.efficacy * games.alone) / gain
    for g in chosen.tolist():
        found = list(nashpy.Game(*payoffs[g].numpy()).support_enumeration(non_degenerate=True))
        both_pure = {(int(a.argmax()), int(b.argmax())) for a, b in found if max(a) > 1 - 1e-9 and max(b) > 1 - 1e-9}
        assert both_pure == set(map(tuple, pure[g].nonzero().tolist()))
        mixed = [(a[1], b[1]) for a, b in found if max(a) < 1 - 1e-9]
        assert len(mixed) == int(two[g])
        if mixed:  # each is as likely to act as leaves the other indifferent
            resists = games.cost_support[g] / (games.at_stake * gain)[g]
            assert mixed[0] == pytest.approx((resists.item(), joins[g].item()), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "up"),
    [
        ("awareness", lambda v, u: v + (1 - v) * u, True),
        ("patience", lambda v, u: v + (1 - v) * u, True),
        ("together", lambda v, u: v + (1 - v) * u, True),
        ("stake", lambda v, u: v * (1 + u), True),
        ("delay", lambda v, u: v * u, True),
        ("repel", lambda v, u: v + (1 - v) * u, False),
        ("cost_support", lambda v, u: v * (1 + u), False),
        ("alone", lambda v, u: v * u, True),
    ],
)
def test_each_factor_but_efficacy_moves_unity_one_way_only(name, change, up):
    games = alliance.draw(50_000, seed=4)
    u = torch.rand(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    unity, _ = alliance.gains(games, replace(games, **{name: change(getattr(games, name), u)}))
    assert ((unity > 0).any(), (unity < 0).any()) == (up, not up)


def test_efficacy_unites_as_long_as_the_lonely_defence_is_no_better_than_even():
    games = alliance.draw(100_000, seed=6)
    unity, prevail = alliance.gains(games, replace(games, efficacy=halfway(games.efficacy)))
    assert (unity[games.repel <= 0.5] >= 0).all()  # efficacy (1 - efficacy repel) rises up to efficacy = 1 / (2 repel)
    assert (unity[games.repel > 0.5] < 0).any()
    assert (prevail[unity >= 0] >= 0).all()


def test_what_the_threat_takes_from_two_is_what_it_takes_when_they_play_at_random():
    games = alliance.draw(2000, seed=7)
    taken = alliance.takings(games)
    u = torch.rand(2, 2000, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    p = alliance.prevail(games, alliance.equilibrium(games))
    later = games.stake * games.threat_patience**games.delay
    beaten = (u[0] > p[:, None]).double()
    turn = beaten * (games.stake_now[:, None] + (u[1] > games.repel[:, None]) * later[:, None])
    whole = games.stake_now + games.stake
    np.testing.assert_allclose(taken["in_turn"], turn.mean(1) / whole, atol=5 * 0.5 / 4000**0.5)
    sure = one_alliance(efficacy=1, together=1, stake_now=1, stake=1, cost_resist=0.5)
    assert alliance.takings(sure)["at_once"].item() == 0  # together they cannot lose
    assert alliance.takings(replace(sure, cost_support=sure.stake * 2))["at_once"].item() == 1  # alone they cannot win


# ---- groups --------------------------------------------------------------------------------------------------------------


def plain_sequence(stake, cost, patience, awareness, efficacy, strength, steepness, delay):
    """`sequence.equilibrium` for one game in plain Python, enumerating profiles: lists of n numbers, then two numbers.

    Returns the supporters of each stage (a list of sets) and the losses of each (a list of n + 1 lists).
    """
    n = len(stake)
    losses, supporters = [[0.0] * n], []

    def win(fighters, t):
        return 1 / (1 + (strength[t] / fighters) ** steepness)

    for t in reversed(range(n)):
        D = {j: patience[j] ** delay * awareness[j] * losses[0][j] for j in range(t + 1, n)}
        stable = []
        for profile in product((0, 1), repeat=len(D)):
            helpers = {j for j, s in zip(D, profile, strict=True) if s}
            R = 1 + len(helpers)
            if all(efficacy[j] * (win(R, t) - win(R - 1, t)) * D[j] >= cost[j] for j in helpers) and all(
                efficacy[j] * (win(R + 1, t) - win(R, t)) * D[j] < cost[j] for j in D if j not in helpers
            ):
                stable.append((len(helpers), sum(efficacy[j] * D[j] / cost[j] for j in helpers), helpers))
        helpers = max(stable, key=lambda found: found[:2])[2]
        lose = [1 - e * win(1 + len(helpers), t) for e in efficacy]
        row = [lose[j] * D[j] + cost[j] * (j in helpers) if j > t else lose[j] * stake[j] * (j == t) for j in range(n)]
        losses.insert(0, row)
        supporters.insert(0, helpers)
    return supporters, losses


def eager(count, groups, seed, alike):
    """Random games in which helping is often about worth its cost."""
    boxes = sequence.BOXES | {"awareness": (0.5, 1), "efficacy": (0.5, 1), "patience": (0.5, 1), "delay": (0, 2)}
    return sequence.draw(count, groups, seed, boxes, alike=alike)


@pytest.mark.parametrize(("groups", "alike"), [(1, True), (2, False), (4, True), (5, False)])
def test_the_equilibrium_of_groups_agrees_with_the_plain_reference(groups, alike):
    games = eager(60, groups, 7, alike)
    plan = sequence.equilibrium(games)
    names = ("stake", "cost", "patience", "awareness", "efficacy", "strength")
    for g in range(60):
        values = (
            *(getattr(games, name)[g].tolist() for name in names),
            games.steepness[g, 0].item(),
            games.delay[g, 0].item(),
        )
        supporters, losses = plain_sequence(*values)
        assert [set(row.nonzero()[:, 0].tolist()) for row in plan.support[g]] == supporters
        np.testing.assert_allclose(plan.losses[g], losses, rtol=1e-12)
    assert groups == 1 or plan.support.any()


def stage_payoffs(games, losses, stage):
    """A stage in normal form: payoffs (games, helpers, 2, …, 2) of the later groups, each abstaining or supporting, when
    `losses` (games, stages + 1, groups) is what follows."""
    G, n = games.stake.shape
    m = n - 1 - stage
    profiles = torch.tensor(list(product((0.0, 1.0), repeat=m)), dtype=torch.float64)
    win = sequence.chance(1 + profiles.sum(1), games.strength[:, stage, None], games.steepness)
    lose = 1 - games.efficacy[:, stage + 1 :, None] * win[:, None]
    D = (games.discount * losses[:, stage + 1])[:, stage + 1 :]
    payoffs = -lose * D[:, :, None] - games.cost[:, stage + 1 :, None] * profiles.T
    return payoffs.view(G, m, *[2] * m)


@pytest.mark.parametrize("alike", [True, False])
def test_sorting_finds_the_largest_and_the_smallest_equilibrium_of_every_stage(alike):
    games = eager(20_000, 5, 8, alike)
    several = 0
    for most in (True, False):
        plan = sequence.equilibrium(games, most)
        for t in range(4):
            m = 4 - t
            found = pure_equilibria(stage_payoffs(games, plan.losses, t)).flatten(1)
            helps = plan.support[:, t, t + 1 :]
            assert found.gather(1, (helps * 2 ** torch.arange(m - 1, -1, -1)).sum(1, keepdim=True)).all()
            size = torch.tensor([sum(p) for p in product((0, 1), repeat=m)])
            fewest, largest = torch.where(found, size, m + 1).amin(1), torch.where(found, size, -1).amax(1)
            assert torch.equal(helps.sum(1), largest if most else fewest)
            several += (fewest < largest).sum()
    assert several > 0


def test_a_batch_equals_single_games():
    games = eager(7, 5, 9, alike=False)
    plan = sequence.equilibrium(games)
    for g in range(7):
        single = sequence.SequentialAttack(*(getattr(games, f.name)[g : g + 1] for f in fields(games)))
        alone = sequence.equilibrium(single)
        assert torch.equal(alone.support[0], plan.support[g])
        assert torch.equal(alone.losses[0], plan.losses[g])


def test_losses_agree_with_playing_the_game_at_random():
    games = eager(1, 4, 10, alike=False)
    support = sequence.equilibrium(games).support
    win = sequence.chance(1 + support.sum(2), games.strength, games.steepness)[0]
    u = torch.rand(400_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    taken = (u > win).double().cumprod(1)
    assert sequence.saved(games, support).item() == pytest.approx(1 - taken.mean().item(), abs=0.003)
    comes = torch.cat([torch.ones(400_000, 1), taken[:, :-1]], 1)
    losses = (taken * games.stake + comes.double() @ support[0].double() * games.cost).mean(0)
    np.testing.assert_allclose(sequence.true_losses(games, support)[0], losses, atol=0.05)
    discount = games.threat_patience ** (games.delay * torch.arange(4))
    takings = sequence.takings(games, support)
    assert takings["in_turn"].item() == pytest.approx((taken * discount).mean().item(), abs=0.003)
    together = games.strength[0, 0].item() ** games.steepness.item()
    assert takings["at_once"].item() == pytest.approx(together / (together + 4 ** games.steepness.item()))


def test_unity_counts_the_help_that_is_given():
    games = eager(3, 4, 12, alike=True)
    everyone = sequence.united(games)
    assert everyone.sum((1, 2)).tolist() == [6] * 3
    assert not everyone.tril().any()
    assert sequence.unity(everyone).tolist() == [1] * 3
    assert sequence.unity(everyone & (torch.arange(4)[:, None] == 0)).tolist() == [0.5] * 3


def test_the_best_order_is_at_least_as_good_for_the_threat_as_any_other():
    games = eager(50, 4, 12, alike=False)
    order, lost = sequence.best_orders(games)
    assert (lost.diff(dim=1) <= 1e-12).all()
    assert (lost[:, 0] > lost[:, 2]).any()
    turned = games.order(order)
    assert torch.equal(1 - sequence.saved(turned, sequence.equilibrium(turned).support), lost[:, 0])
    assert torch.equal(games.order([3, 2, 1, 0]).cost, games.cost.flip(1))


def test_effort_turns_at_a_quarter_of_what_is_at_stake_over_the_cost():
    A, B, c, s = sympy.symbols("A B c s", positive=True)
    effort = sympy.sqrt(A * B / c) - 1 - A
    assert sympy.simplify(sympy.diff(B * (1 + s) / (1 + s + A) - c * s, s).subs(s, effort)) == 0
    assert sympy.solve(sympy.diff(effort, A), A) == [B / (4 * c)]
    assert sympy.simplify(sympy.diff(effort, A, 2)).is_negative
    games = eager(5, 3, 13, alike=True)
    plan = sequence.equilibrium(games)
    benefit = (games.efficacy * games.patience**games.delay * games.awareness * plan.losses[:, 1])[:, 1]
    np.testing.assert_allclose(sequence.turning_strength(games, plan), benefit / games.cost[:, 0] / 4)


def test_a_lone_helper_is_ready_when_helping_is_worth_its_cost():
    games = eager(5000, 2, 14, alike=False)
    helps = sequence.equilibrium(games).support[:, 0, 1]
    assert torch.equal(helps, sequence.readiness(games) >= 1)
    pairs = alliance.draw(5000, 15)
    assert torch.equal(alliance.equilibrium(pairs).support, alliance.readiness(pairs) >= 1)


# ---- a public ------------------------------------------------------------------------------------------------------------

BASE = {"patience": 0.8, "awareness": 0.7, "spread": 4.0, "stake": 4.0, "core": 0.1, "half": 0.3, "noise": 0.24}


def public(**values):
    return population.Population(**BASE | values)


@pytest.mark.parametrize(("patience", "awareness", "spread"), [(0.8, 0.7, 4.0), (0.5, 0.3, 8.0), (1.0, 0.95, 0.01)])
def test_response_agrees_with_a_sum_over_people(patience, awareness, spread):
    one = public(patience=patience, awareness=awareness, spread=spread)
    z = np.array([1e-5, 0.08, 1.2, 2.4, 8.0])
    tau, q = np.meshgrid((np.arange(800) + 0.5) / 800 * spread, (np.arange(800) + 0.5) / 800)
    low, high = one.awareness_range
    worth = z[:, None, None] * patience**tau * (low + (high - low) * q)
    expected = 1 / (1 + np.exp(-(worth - 1) / 0.24))
    np.testing.assert_allclose(one.response(z), expected.mean((1, 2)), rtol=2e-5)


def test_response_stays_true_where_hardly_anything_is_at_stake():
    one = public(patience=1e-3, spread=8.0)
    assert one.response(np.array([1e-5]))[0] == pytest.approx(1 / (1 + np.exp(1 / 0.24)), rel=1e-4)


def test_a_batch_of_publics_equals_each_alone():
    deltas, aware = np.array([0.6, 0.9]), np.array([0.3, 0.5, 0.8])
    together = public(patience=deltas[:, None], awareness=aware[None])
    for i, j in np.ndindex(2, 3):
        alone = public(patience=deltas[i], awareness=aware[j])
        np.testing.assert_allclose(together.stable(0.9)[:, i, j], alone.stable(0.9))
        np.testing.assert_allclose(together.equilibria[1][i, j], alone.equilibria[1])


@pytest.mark.parametrize("efficacy", [0.5, 0.75, 0.95])
def test_the_stable_equilibria_are_where_iteration_ends(efficacy):
    one = public()
    for end, start in zip(one.stable(efficacy), (0.0, 1.0), strict=True):
        x = np.array([start])
        for _ in range(80):
            x = one.response(one.stake * efficacy * one.win(x))
        assert end == pytest.approx(x[0], abs=3e-4)


def test_many_people_behave_as_the_curve_and_remember():
    one = public()
    crowd = population.people(one, 4, 100_000, seed=14)
    least, greatest = one.stable(0.75)
    assert greatest > 0.5 > 0.1 > least  # two equilibria
    for start, state in ((0.0, least), (1.0, greatest)):
        assert population.follow(one, crowd, [0.75], start)[0].mean().item() == pytest.approx(state, abs=0.01)
    path = population.follow(one, crowd, [0.9, 0.75, 0.5, 0.75, 0.9], 1.0).mean(1)
    assert path[1] > 0.5 > 0.1 > path[3]  # the same efficacy, another history
    assert abs(path[4] - path[0]) < 0.01


def test_what_the_threat_takes_from_a_public():
    one = public(spread=np.array([2.0]))
    taken = population.takings(one, np.array([0.9]), np.array([0.9]))
    times = (np.arange(10_000) + 0.5) / 10_000 * 2
    lose = 1 - one.win(one.stable(0.9)[1])
    assert taken["in_turn"].item() == pytest.approx((lose * (0.9**times).mean()).item(), rel=1e-6)
    sudden = public(spread=0.01, awareness=1 - 1e-6).stable(0.9)[1]
    assert taken["at_once"].item() == pytest.approx(1 - one.win(sudden).item(), rel=1e-4)


def test_hope_is_a_threat_believed_weaker_in_every_game():
    games = eager(20, 3, 16, alike=False)
    np.testing.assert_allclose(sequence.hopeful(games).strength, 0.7 * games.strength)
    pairs = alliance.draw(20, 17)
    odds = [
        getattr(g, n) / (1 - getattr(g, n)) for n in ("alone", "together", "repel") for g in (pairs, alliance.hopeful(pairs))
    ]
    for true, believed in zip(odds[::2], odds[1::2], strict=True):
        np.testing.assert_allclose(believed, true / 0.7)
    assert population.hopeful(public()).win(0.2) > public().win(0.2)


# ---- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("count", lambda: alliance.draw(0)),
        ("seed", lambda: alliance.draw(5, seed=-1)),
        ("groups", lambda: sequence.draw(5, 0)),
        ("worlds", lambda: narrower(alliance.BOXES, 0, 5, 0)),
        ("games", lambda: narrower(alliance.BOXES, 5, 0, 0)),
        ("patience", lambda: public(patience=0.0)),
        ("awareness", lambda: public(awareness=1.0)),
        ("spread", lambda: public(spread=np.array([1.0, np.nan]))),
        ("efficacy", lambda: public().stable(-1.0)),
        ("efficacy", lambda: public().stable(100.0)),
        ("count", lambda: population.draw(0)),
        ("count", lambda: population.people(public(), 2, 0)),
        ("populations", lambda: population.people(public(), 0, 2)),
    ],
)
def test_bad_values_are_named(name, call):
    with pytest.raises(ValueError, match=f"{name} = "):
        call()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("alone", lambda v: v + 2),
        ("awareness", lambda v: v - 2),
        ("delay", lambda v: v * float("nan")),
        ("repel", lambda v: v[:2]),
        ("patience", lambda v: v.long()),
        ("together", lambda v: v * 0),
    ],
)
def test_an_alliance_refuses_bad_fields(name, change):
    games = alliance.draw(5)
    with pytest.raises(ValueError, match="alone" if name == "together" else name):
        replace(games, **{name: change(getattr(games, name))})


def test_a_sequential_attack_refuses_bad_fields():
    games = sequence.draw(5, 3)
    for name, value in (("cost", games.cost * 0), ("awareness", games.awareness + 1), ("strength", games.strength[:, :2])):
        with pytest.raises(ValueError, match=name):
            replace(games, **{name: value})


# ---- the page ------------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_drawn_sum_is_the_one_that_the_game_decides_by(awareness, patience, efficacy):
    beliefs = {"awareness": awareness, "patience": patience, "efficacy": efficacy}
    lawyer = one_alliance(
        **beliefs,
        alone=0.2,
        together=0.2 + drawings.DIFFERENCE,
        stake=drawings.STAKE,
        delay=drawings.DELAY,
        repel=drawings.REPEL,
        cost_support=drawings.COST,
    )
    saves = drawings.STAKE * math.prod(drawings.ledger_factors(**beliefs).values())
    assert saves / drawings.COST == pytest.approx(alliance.readiness(lawyer).item())


def test_what_the_abstract_is_said_to_be_judged_by_is_all_that_is_not_ours():
    rows = verdicts.read(built(SMOKE / "disempowerment.ipynb"))
    listed = re.findall(r'^- ".*" → (.*)$', PAGE, re.M)
    named = {name for where in listed if not where.startswith("not judged: ") for name in where.split(", ")}
    assert named == {row["id"].removeprefix("disempowerment/") for row in rows if row["origin"] != "ours"}


def test_the_page_says_of_every_claim_that_it_is_about_a_reconstruction():
    for row in verdicts.read(built(SMOKE / "disempowerment.ipynb")):
        assert row["origin"] in ("implied", "ours")
        assert row["origin"] == "ours" or row["source"].endswith("the game is ours")
    cells = json.loads(built(SMOKE / "disempowerment.ipynb").read_text())["cells"]
    drawn = [
        "".join(out["data"]["text/html"])
        for c in cells
        for out in c.get("outputs", [])
        if "text/html" in out.get("data", {})
    ]
    plots = [text for text in drawn if 'class="plot"' in text]
    assert len(plots) == len(re.findall(r"^(?:explore|show)\(", PAGE, re.M))
