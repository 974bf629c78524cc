import itertools
import re
import time
from dataclasses import fields, replace
from pathlib import Path

import nashpy
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.papers import disempowerment as threat

# ---- equilibria ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [(2, 2), (3, 2), (2, 2, 2), (2, 3, 2, 2)])
def test_pure_equilibria_agree_with_trying_every_deviation(actions):
    payoffs = torch.randint(0, 4, (20, len(actions), *actions), generator=torch.Generator().manual_seed(0)).double()
    found = threat.pure_equilibria(payoffs)
    for game in range(20):
        for profile in itertools.product(*map(range, actions)):
            best = all(
                payoffs[game, i][profile] >= payoffs[game, i][(*profile[:i], other, *profile[i + 1 :])]
                for i, count in enumerate(actions)
                for other in range(count)
            )
            assert found[(game, *profile)] == best


def test_pure_and_mixed_equilibria_of_a_hundred_games_agree_with_nashpy():
    games = threat.draw_three(4000, seed=3)
    payoffs = threat.at_the_same_time(games)
    pure = threat.pure_equilibria(payoffs)
    two = pure[:, 0, 0] & pure[:, 1, 1]
    chosen = torch.cat([two.nonzero()[:50, 0], (~two).nonzero()[:50, 0]])
    assert len(chosen) == 100
    sigma = games.at_stake * (games.together - games.alone) / games.cost_support
    joins = (games.cost_resist / games.stake_now - games.alone) / (games.together - games.alone)
    for g in chosen.tolist():
        C, F = payoffs[g].numpy()
        found = list(nashpy.Game(C, F).support_enumeration(non_degenerate=True))
        both_pure = {(int(a.argmax()), int(b.argmax())) for a, b in found if max(a) > 1 - 1e-9 and max(b) > 1 - 1e-9}
        assert both_pure == set(map(tuple, pure[g].nonzero().tolist()))
        mixed = [(a[1], b[1]) for a, b in found if max(a) < 1 - 1e-9]
        assert len(mixed) == int(two[g])
        if mixed:  # C resists with probability 1/Σ, F supports with (k/L_C - p0)/(p1 - p0)
            assert mixed[0] == pytest.approx((1 / sigma[g].item(), joins[g].item()), rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 2, 2), (4, 3, 2, 2), (0, 2, 2, 2), (4,)])
def test_pure_equilibria_refuse_other_shapes(shape):
    with pytest.raises(ValueError, match="payoffs"):
        threat.pure_equilibria(torch.zeros(shape))


# ---- three players -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_closed_form_agrees_with_the_tree(seed):
    games = threat.draw_three(200_000, seed)
    for formula, tree in zip(threat.one_after_the_other(games), threat.tree_three(games), strict=True):
        assert torch.equal(formula, tree)


def test_ties_go_to_supporting_and_resisting():
    one = {"stake_now": 4, "stake_later": 4, "belief": 1, "delay": 0, "repel": 0, "patience": 1, "threat_patience": 1}
    game = threat.Three(
        **{f.name: torch.tensor([float(one.get(f.name, 0))], dtype=torch.float64) for f in fields(threat.Three)}
    )
    game = replace(game, alone=game.alone + 0.25, together=game.alone + 0.75, cost_support=game.alone + 2)
    game = replace(game, cost_resist=game.alone * 0 + 3)
    for outcome in (threat.one_after_the_other(game), threat.tree_three(game)):
        assert [v.item() for v in outcome] == [True, True, 0.75]


@pytest.mark.parametrize(
    ("name", "change", "up"),
    [
        ("belief", lambda v, u: v + (1 - v) * u, True),
        ("patience", lambda v, u: v + (1 - v) * u, True),
        ("together", lambda v, u: v + (1 - v) * u, True),
        ("stake_later", lambda v, u: v * (1 + u), True),
        ("delay", lambda v, u: v * u, True),
        ("repel", lambda v, u: v + (1 - v) * u, False),
        ("cost_support", lambda v, u: v * (1 + u), False),
        ("alone", lambda v, u: v * u, True),
    ],
)
def test_each_factor_moves_support_one_way_only(name, change, up):
    games = threat.draw_three(50_000, seed=4)
    u = torch.rand(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    other = replace(games, **{name: change(getattr(games, name), u)})
    gained, lost = threat.moved(threat.one_after_the_other(games).support, threat.one_after_the_other(other).support)
    assert (gained > 0, lost > 0) == (up, not up)


def test_the_threat_never_gains_by_dividing_the_united_nor_by_reassuring_the_divided():
    games = threat.draw_three(100_000, seed=6)
    united = threat.regimes(threat.one_after_the_other(games)) == threat.REGIMES.index("united")
    sequence, once = threat.threat_values(games)
    assert not (sequence > once)[united].any()
    price = threat.reassurance(games)
    assert (price[~united] == 0).all()
    assert (price[united] > 0).all()


def test_the_plane_covers_every_pair_of_chances():
    values = {f.name: 0.5 for f in fields(threat.Three) if f.name not in ("alone", "together")}
    games = threat.plane(5, **values)
    assert games.alone.view(5, 5)[4].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert games.together.view(5, 5)[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]


@given(st.floats(0, 1), st.floats(0.1, 10))
def test_raising_odds_multiplies_them(chance, factor):
    raised = threat.raise_odds(chance, factor)
    assert raised * (1 - chance) == pytest.approx(factor * chance * (1 - raised), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 20), st.floats(0.05, 8), st.floats(0.1, 2), st.floats(0.05, 2))
def test_best_effort_is_the_best_of_many(benefit, strength, cost, others):
    effort = torch.linspace(0, 40, 40_001, dtype=torch.float64)  # the best lies below sqrt(20 * 8 / 0.1) = 40
    value = benefit * (others + effort) / (others + effort + strength) - cost * effort
    best = threat.best_effort(*torch.tensor([benefit, strength, cost, others], dtype=torch.float64))
    assert best.item() == pytest.approx(effort[value.argmax()].item(), abs=2e-3)


def test_best_effort_turns_where_the_formula_says():
    A, B, c, w, s = sympy.symbols("A B c w s", positive=True)
    effort = sympy.sqrt(A * B / c) - A - w
    assert sympy.simplify(sympy.diff(B * (w + s) / (w + s + A) - c * s, s).subs(s, effort)) == 0
    assert sympy.solve(sympy.diff(effort, A), A) == [B / (4 * c)]
    assert sympy.simplify(sympy.diff(effort, A, 2)).is_negative


# ---- groups --------------------------------------------------------------------------------------------------------------


def one_game(games, g):
    names = ("stake", "cost", "patience", "belief", "strength")
    return *(getattr(games, name)[g].tolist() for name in names), games.steepness[g, 0].item()


@pytest.mark.parametrize(("groups", "alike"), [(1, True), (2, False), (4, True), (5, False)])
def test_attack_in_order_agrees_with_the_plain_reference(groups, alike):
    games = threat.draw_groups(60, groups, seed=7, alike=alike)
    play = threat.attack_in_order(games)
    for g in range(60):
        supporters, losses = threat.plain_attack_in_order(*one_game(games, g))
        assert [set(row.nonzero()[:, 0].tolist()) for row in play.support[g]] == supporters
        np.testing.assert_allclose(play.losses[g], losses, rtol=1e-12)


@pytest.mark.parametrize("alike", [True, False])
def test_sorting_finds_the_largest_and_the_smallest_equilibrium_of_every_stage(alike):
    games = threat.draw_groups(20_000, 5, seed=8, alike=alike)
    several = 0
    for most in (True, False):
        play = threat.attack_in_order(games, most)
        stable, low, high = threat.enumerated_sizes(games, play)
        size = torch.stack([play.support[:, t].sum(1) for t in range(4)], 1)
        assert stable.all()
        assert torch.equal(size, high if most else low)
        several += (low < high).sum()
    assert several > 0


def test_members_equal_single_games():
    games = threat.draw_groups(7, 5, seed=9, alike=False)
    play = threat.attack_in_order(games)
    for g in range(7):
        single = threat.Groups(*(getattr(games, f.name)[g : g + 1] for f in fields(games)))
        alone = threat.attack_in_order(single)
        assert torch.equal(alone.support[0], play.support[g])
        assert torch.equal(alone.losses[0], play.losses[g])


def test_groups_lost_agree_with_playing_the_game_at_random():
    games = threat.draw_groups(1, 4, seed=10, alike=False)
    support = threat.attack_in_order(games).support
    win = threat.chance(1 + support.sum(2), games.strength, games.steepness)[0]
    u = torch.rand(2, 200_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    beaten = (u[0] > win).long()
    comes = torch.cat([torch.ones(200_000, 1), (u[1] < games.belief[0])[:, 1:]], 1).long()
    lost = (beaten * comes).cumprod(1).sum(1).double()
    assert threat.groups_lost(games, support).item() == pytest.approx(
        lost.mean().item(), abs=4 * lost.std().item() / 200_000**0.5
    )


def test_the_best_order_is_at_least_as_good_for_the_threat_as_any_other():
    games = threat.draw_groups(50, 4, seed=12, alike=False)
    order, taken = threat.best_orders(games)
    assert (taken.diff(dim=1) <= 1e-12).all()
    turned = games.order(order)
    certain = replace(turned, belief=torch.ones_like(turned.belief))
    assert torch.equal(threat.groups_lost(certain, threat.attack_in_order(turned).support), taken[:, 0])
    assert torch.equal(games.order([3, 2, 1, 0]).cost, games.cost.flip(1))


def test_the_kernel_is_far_faster_than_the_loop():
    games = threat.draw_groups(20_000, 5, seed=13)
    start = time.process_time()
    threat.attack_in_order(games)
    batched = (time.process_time() - start) / 20_000
    start = time.process_time()
    for g in range(40):
        threat.plain_attack_in_order(*one_game(games, g))
    assert (time.process_time() - start) / 40 > 25 * batched


# ---- the population ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patience", "awareness", "spread"), [(0.8, 0.7, 4.0), (0.5, 0.3, 8.0), (1.0, 0.95, 0.01)])
def test_response_agrees_with_a_sum_over_people(patience, awareness, spread):
    z = np.array([0.02, 0.3, 0.6, 2.0])
    tau, q = np.meshgrid((np.arange(800) + 0.5) / 800 * spread, (np.arange(800) + 0.5) / 800)
    low, high = threat.awareness_range(awareness)
    worth = z[:, None, None] * patience**tau * (low + (high - low) * q)
    expected = 1 / (1 + np.exp(-(worth - threat.COST) / threat.NOISE))
    np.testing.assert_allclose(threat.response(z, patience, awareness, spread), expected.mean((1, 2)), rtol=2e-5)


def test_a_grid_of_populations_equals_each_alone():
    deltas, aware = np.array([0.6, 0.9]), np.array([0.3, 0.5, 0.8])
    together = threat.window(deltas[:, None], aware[None], 4.0)
    states = threat.rest(0.9, deltas[:, None], aware[None], 4.0)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose([w[i, j] for w in together], threat.window(deltas[i], aware[j], 4.0))
        np.testing.assert_allclose([x[i, j] for x in states], threat.rest(0.9, deltas[i], aware[j], 4.0))


@pytest.mark.parametrize("efficacy", [0.5, 0.75, 1.1])
def test_rest_is_where_iteration_ends(efficacy):
    for end, start in zip(threat.rest(efficacy, 0.8, 0.7, 4.0), (0.0, 1.0), strict=True):
        x = np.array([start])
        for _ in range(80):
            x = threat.response(efficacy * threat.power(x), 0.8, 0.7, 4.0)
        assert end == pytest.approx(x[0], abs=2e-4)


def test_the_window_and_how_it_moves():
    assert threat.window(0.8, 0.7, 4.0) == pytest.approx((0.68, 0.83), abs=0.03)
    for axis, sign in (("patience", -1), ("awareness", -1), ("spread", 1)):
        base = {"patience": 0.8, "awareness": 0.7, "spread": 4.0}
        for edge in threat.window(**base | {axis: base[axis] * np.linspace(0.7, 1.2, 6)}):
            assert (np.sign(np.diff(edge)) == sign).all()


def test_no_window_where_efforts_hardly_feed_on_each_other(monkeypatch):
    monkeypatch.setattr(threat, "CORE", 0.9)
    assert np.isnan(threat.window(0.8, 0.7, 4.0)).all()
    with pytest.raises(ValueError, match="two stable states"):
        threat.equal_areas(0.8, 0.7, 4.0)


def test_many_people_behave_as_the_curve():
    crowd = threat.thresholds(4, 100_000, 0.8, 0.7, 4.0, seed=14)
    for start, state in zip((0.0, 1.0), threat.rest(0.75, 0.8, 0.7, 4.0), strict=True):
        found = threat.follow(crowd, [0.75], start)[0]
        assert found.mean().item() == pytest.approx(float(state), abs=0.01)
    path = threat.follow(crowd, [0.9, 0.75, 0.5, 0.75, 0.9], 1.0).mean(1)
    assert path[1] > 0.5 > 0.1 > path[3]  # the same efficacy, another history
    assert abs(path[4] - path[0]) < 0.01


def test_rollout_value_at_its_limits():
    paces = np.array([1e-6, 1.0])
    value = threat.rollout_value(paces, np.array([0.3, 0.3]), 0.5)
    assert value[0] == pytest.approx(1 - threat.power(0.3), rel=1e-5)
    assert value[1] == pytest.approx((1 - threat.power(0.3)) * (1 - np.exp(-0.5)) / 0.5)


def test_private_doubt_leaves_one_state_near_equal_areas():
    grid = np.linspace(0, 1.6, 401)
    least, greatest = (threat.private_beliefs(0.02, grid, 0.8, 0.7, 4.0, start) for start in (0, 1))
    inside = (grid > 0.2) & (grid < 1.2)
    np.testing.assert_allclose(least[inside], greatest[inside], atol=1e-6)
    step = np.interp(0.3, least[inside], grid[inside])
    assert step == pytest.approx(threat.equal_areas(0.8, 0.7, 4.0), abs=0.03)


def test_equal_areas_reduces_to_the_known_threshold_for_equal_people(monkeypatch):
    """Equal people with cost c: the threshold of the global game is c divided by the mean of P over x in [0, 1]."""
    monkeypatch.setattr(threat, "NOISE", 0.004)
    monkeypatch.setattr(threat, "awareness_range", lambda q: (q - 1e-3, q + 1e-3))
    mean = threat.power(np.linspace(0, 1, 100_001)).mean()
    assert threat.equal_areas(1.0, 0.9, 0.01) == pytest.approx(threat.COST / 0.9 / mean, rel=0.01)


# ---- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("count", lambda: threat.draw_three(0)),
        ("seed", lambda: threat.draw_three(5, seed=-1)),
        ("groups", lambda: threat.draw_groups(5, 0)),
        ("size", lambda: threat.plane(1)),
        ("patience", lambda: threat.window(0.0, 0.7, 4.0)),
        ("awareness", lambda: threat.window(0.8, 1.0, 4.0)),
        ("spread", lambda: threat.window(0.8, 0.7, np.array([1.0, np.nan]))),
        ("efficacy", lambda: threat.rest(-1.0, 0.8, 0.7, 4.0)),
        ("efficacy", lambda: threat.rest(100.0, 0.8, 0.7, 4.0)),
        ("people", lambda: threat.thresholds(2, 0, 0.8, 0.7, 4.0)),
        ("rate", lambda: threat.rollout_value(np.ones(2), np.ones(2), 0.0)),
        ("doubt", lambda: threat.private_beliefs(0.001, np.linspace(0, 1, 11), 0.8, 0.7, 4.0, 0)),
    ],
)
def test_bad_values_are_named(name, call):
    with pytest.raises(ValueError, match=f"{name} = "):
        call()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("alone", lambda v: v + 2),
        ("belief", lambda v: v - 2),
        ("delay", lambda v: v * float("nan")),
        ("repel", lambda v: v[:2]),
        ("patience", lambda v: v.long()),
        ("together", lambda v: v * 0),
    ],
)
def test_three_refuses_bad_fields(name, change):
    games = threat.draw_three(5)
    with pytest.raises(ValueError, match="alone" if name == "together" else name):
        replace(games, **{name: change(getattr(games, name))})


def test_groups_refuse_bad_fields():
    games = threat.draw_groups(5, 3)
    for name, value in (("cost", games.cost * 0), ("belief", games.belief + 1), ("strength", games.strength[:, :2])):
        with pytest.raises(ValueError, match=name):
            replace(games, **{name: value})


def test_the_listing_for_jupyter_calls_what_the_chapter_defines():
    page = (Path(__file__).parents[1] / "book" / "disempowerment.md").read_text(encoding="utf-8")
    listing = re.search(r"```python\n(.*?)```", page, re.S)[1]
    knobs = set(re.findall(r"(\w+)=\(", listing))
    defined = re.search(r"def fold\((.*?)\):", page)[1]
    assert knobs == {argument.split("=")[0].strip() for argument in defined.split(",")} - {"ax"}
