"""Games of a common threat and its victims, after Park and Tegmark, "Divide-and-Conquer Dynamics in AI-Driven
Disempowerment" (arXiv:2310.06009).

The paper's own model was not available when this was written: only its abstract and first paragraphs were. The three games
below are reconstructions, built from the nouns of the abstract, and every equation here is this book's own unless it names
a source:

1. `Three`: a threat, a current victim and a future victim, each deciding once;
2. `Groups`: n groups attacked one after the other, where later groups may help earlier ones;
3. a population of people with thresholds, whose efforts feed on each other.

Games come in batches: every field of `Three` and `Groups` has the game axis first, float64 is meant throughout.
"""

import math
from dataclasses import dataclass, fields, replace
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from torch.nn.functional import softplus

from ..checks import check
from ..kernels.tensors import check_tensor

# ---- equilibria of any finite game ---------------------------------------------------------------------------------------


def pure_equilibria(payoffs):
    """All pure Nash equilibria of a batch of games, by enumeration.

    Args:
        payoffs: (G, n, a1, …, an), floating: what player i gets when player j plays its action number sj.

    Returns:
        (G, a1, …, an) bool: nobody gains by changing their own action alone.

    Raises:
        ValueError: if the shape is not that of n players with an action axis each.
    """
    check_tensor("payoffs", payoffs)
    if payoffs.dim() < 3 or payoffs.dim() != payoffs.shape[1] + 2:
        raise ValueError(f"payoffs = tensor of shape {tuple(payoffs.shape)}: expected (games, n, then n action axes)")
    players = enumerate(payoffs.unbind(1), start=1)
    return torch.stack([mine >= mine.amax(axis, keepdim=True) for axis, mine in players]).all(0)


def moved(before, after):
    """Shares of the batch in which a number went up and in which it went down; two floats."""
    return (after > before).double().mean().item(), (after < before).double().mean().item()


def _check_batch(games, ranges):
    for field in fields(games):
        value = check_tensor(field.name, getattr(games, field.name))
        low, high = ranges.get(field.name, (0, math.inf))
        if value.min() < low or value.max() > high or len(value) != len(getattr(games, fields(games)[0].name)):
            raise ValueError(
                f"{field.name} = tensor of shape {tuple(value.shape)} from {value.min():.4g} to {value.max():.4g}: "
                f"expected one row a game, values in [{low}, {high}]"
            )


def _draw(boxes, shape, seed, device):
    check("seed", seed, int, low=0)
    rng = torch.Generator().manual_seed(seed)  # on the CPU, so that every device plays the same games
    return {
        name: (low + (high - low) * torch.rand(shape, generator=rng, dtype=torch.float64)).to(device)
        for name, (low, high) in boxes.items()
    }


# ---- first reconstruction: three players ---------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What happens in each game, (G,): does F support, does C resist (bool), and how likely they win."""

    support: torch.Tensor
    resist: torch.Tensor
    win: torch.Tensor


REGIMES = ("surrender", "abandoned fight", "backed but gives up", "united")


@dataclass(frozen=True)
class Three:
    """A batch of games between a threat T, a current victim C and a future victim F. Every field is (G,).

    C resists or gives up; F sees it and supports or not; then the contest. If T wins, it comes for F after `delay`.

    Attributes:
        alone, together: chance that C wins without and with F, alone <= together.
        stake_now, stake_later: what C and F lose if T takes them ("serious").
        belief: how sure F is that T comes for it next ("realise").
        delay: periods until then; short means "imminent".
        repel: chance that F then wins alone.
        patience: F's discount factor a period; myopia is 1 - patience.
        cost_support, cost_resist: what supporting costs F and resisting costs C.
        threat_patience: T's discount factor a period.
    """

    alone: torch.Tensor
    together: torch.Tensor
    stake_now: torch.Tensor
    stake_later: torch.Tensor
    belief: torch.Tensor
    delay: torch.Tensor
    repel: torch.Tensor
    patience: torch.Tensor
    cost_support: torch.Tensor
    cost_resist: torch.Tensor
    threat_patience: torch.Tensor

    def __post_init__(self):
        chances = ("alone", "together", "belief", "repel", "patience", "threat_patience")
        _check_batch(self, dict.fromkeys(chances, (0, 1)))
        if (self.alone > self.together).any():
            raise ValueError(f"alone = {self.alone.max():.4g} at most: expected alone <= together in every game")

    @property
    def at_stake(self):
        """What F expects to lose if T beats C: patience^delay · belief · (1 - repel) · stake_later, (G,)."""
        return self.patience**self.delay * self.belief * (1 - self.repel) * self.stake_later


def draw_three(count, seed=0, device="cpu"):
    """`count` random games `Three`; the boxes are arbitrary and were chosen once, before any result was seen."""
    check("count", count, int, low=1)
    boxes = {
        "alone": (0, 1),
        "together": (0, 1),
        "stake_now": (0, 10),
        "stake_later": (0, 10),
        "belief": (0, 1),
        "delay": (0, 4),
        "repel": (0, 1),
        "patience": (0, 1),
        "cost_support": (0, 2),
        "cost_resist": (0, 5),
        "threat_patience": (0.9, 1),
    }
    values = _draw(boxes, count, seed, device)
    values["together"] = values["alone"] + (1 - values["alone"]) * values["together"]
    return Three(**values)


def plane(size, device="cpu", **values):
    """Games `Three` that differ in `alone` and `together` alone: (size²,), row by row with `together` rising over the rows.

    Where together < alone there is no game; there `together` is set to `alone`. `values` are the other fields, numbers.
    """
    check("size", size, int, low=2)
    chances = torch.linspace(0, 1, size, dtype=torch.float64, device=device)
    together, alone = (v.flatten() for v in torch.meshgrid(chances, chances, indexing="ij"))
    values = {name: torch.full_like(alone, value) for name, value in values.items()}
    return Three(alone=alone, together=together.maximum(alone), **values)


def raise_odds(chance, factor):
    """The chance whose odds are `factor` times those of `chance`, elementwise."""
    return factor * chance / (1 - chance + factor * chance)


def _contest(games, support):
    chance = torch.where(support, games.together, games.alone)
    resist = chance * games.stake_now >= games.cost_resist
    return Outcome(support, resist, chance * resist)


def one_after_the_other(games):
    """The subgame-perfect equilibrium of each game `Three` in closed form; ties go to supporting and resisting.

    F supports a resisting C if and only if at_stake · (together - alone) >= cost_support; C then knows its chance p and
    resists if and only if p · stake_now >= cost_resist.
    """
    return _contest(games, games.at_stake * (games.together - games.alone) >= games.cost_support)


def all_at_once(games):
    """The same if T attacks both now: F's stake is neither delayed nor in doubt."""
    return _contest(games, games.stake_later * (games.together - games.alone) >= games.cost_support)


def tree_three(games):
    """`one_after_the_other` without the closed form: every pair of strategies is tried against the tree's payoffs."""
    at_stake, lost = games.at_stake, games.stake_now
    F = [-(1 - games.alone) * at_stake, -(1 - games.together) * at_stake - games.cost_support]
    C = [[-lost] * 2, [-(1 - p) * lost - games.cost_resist for p in (games.alone, games.together)]]
    support = resist = torch.zeros_like(lost, dtype=torch.bool)
    for s, r in product((0, 1), (0, 1)):  # the last equilibrium found is the one that supports and resists
        perfect = (F[s] >= F[1 - s]) & (C[r][s] >= C[1 - r][s])
        support, resist = torch.where(perfect, bool(s), support), torch.where(perfect, bool(r), resist)
    return Outcome(support, resist, torch.where(support, games.together, games.alone) * resist)


def at_the_same_time(games):
    """Payoffs (G, 2, 2, 2) if C and F must decide without seeing each other: players C, F; C gives up or resists; F
    abstains or supports. For `pure_equilibria`."""
    at_stake, lost, c = games.at_stake, games.stake_now, games.cost_support
    chances = torch.stack([games.alone, games.together], 1)
    C = torch.stack([-lost[:, None].expand(-1, 2), -(1 - chances) * lost[:, None] - games.cost_resist[:, None]], 1)
    F = -torch.stack([at_stake[:, None].expand(-1, 2), (1 - chances) * at_stake[:, None]], 1)
    F = F - torch.stack([torch.zeros_like(c), c], 1)[:, None]
    return torch.stack([C, F], 1)


def regimes(outcome):
    """Index into `REGIMES` of each game, (G,)."""
    return outcome.resist + 2 * outcome.support


def threat_values(games):
    """What T gets by attacking one after the other, and by attacking both at once; two tensors (G,). F's belief is taken
    to be the truth."""
    later = games.threat_patience**games.delay * games.belief * (1 - games.repel) * games.stake_later
    sequence = (1 - one_after_the_other(games).win) * (games.stake_now + later)
    return sequence, (1 - all_at_once(games).win) * (games.stake_now + games.stake_later)


def reassurance(games):
    """What T would pay so that F feels safe (believes that T will never come), (G,); the truth stays as it was."""
    later = games.threat_patience**games.delay * games.belief * (1 - games.repel) * games.stake_later
    never = _contest(games, torch.zeros_like(games.alone, dtype=torch.bool))
    return (one_after_the_other(games).win - never.win) * (games.stake_now + later)


def best_effort(benefit, strength, cost, others):
    """The support s >= 0 that maximises benefit · (others + s)/(others + s + strength) - cost · s, elementwise.

    A contest after Tullock (1980). s = sqrt(strength · benefit / cost) - strength - others where that is positive: it rises
    with the threat's strength up to strength = benefit / (4 cost) and falls beyond.
    """
    return ((strength * benefit / cost).sqrt() - strength - others).clamp_min(0)


# ---- second reconstruction: groups, attacked one after the other ---------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """A batch of games in which T attacks n groups in order. G games; what a group has is (G, n), in order of attack.

    At stage t group t fights with weight 1 and each later group may add weight 1 at its own cost. R fighters win with chance
    R^g / (R^g + A^g), and the game ends; else group t is lost and the next stage comes with probability `belief`.

    Attributes:
        stake: what a group loses when it is taken.
        cost: what helping once costs it.
        patience: its discount factor a stage.
        belief: its belief that the next stage comes.
        strength: A, the threat's strength at each stage.
        steepness: g, (G, 1).
    """

    stake: torch.Tensor
    cost: torch.Tensor
    patience: torch.Tensor
    belief: torch.Tensor
    strength: torch.Tensor
    steepness: torch.Tensor

    def __post_init__(self):
        _check_batch(self, {"patience": (0, 1), "belief": (0, 1), "cost": (1e-12, math.inf), "steepness": (1e-12, 50)})
        for name in ("cost", "patience", "belief", "strength"):
            if getattr(self, name).shape != self.stake.shape or self.stake.dim() != 2:
                raise ValueError(f"{name} = tensor of shape {tuple(getattr(self, name).shape)}: expected (games, groups)")

    def order(self, order):
        """The same groups attacked in another order; `order` is a permutation of range(n) or a tensor (G, n) of them."""
        index = torch.as_tensor(order, device=self.stake.device).expand(self.stake.shape)
        own = (getattr(self, name).gather(1, index) for name in ("stake", "cost", "patience", "belief"))
        return Groups(*own, self.strength, self.steepness)


def draw_groups(count, groups, seed=0, *, alike=True, device="cpu"):
    """`count` random games `Groups` of `groups` groups, all alike within a game or each drawn on its own.

    The boxes are arbitrary and were chosen once, before any result was seen. The threat's strength grows by a constant each
    stage, up to half its first value.
    """
    check("count", count, int, low=1)
    check("groups", groups, int, low=1)
    own = {"stake": (1, 10), "cost": (0.02, 0.6), "patience": (0.3, 1), "belief": (0.3, 1)}
    shared = _draw({"first": (0.5, 6), "growth": (0, 0.5), "steepness": (0.5, 2)}, (count, 1), seed, device)
    values = _draw(own, (count, 1 if alike else groups), seed + 1_000_003, device)
    strength = shared["first"] * (1 + shared["growth"] * torch.arange(groups, device=device))
    values = {name: value.expand(count, groups) for name, value in values.items()}
    return Groups(**values, strength=strength, steepness=shared["steepness"])


def chance(fighters, strength, steepness):
    """R^g / (R^g + A^g): the chance that R fighters beat a threat of strength A, elementwise."""
    return 1 / (1 + (strength / fighters) ** steepness)


class Play(NamedTuple):
    """How a game `Groups` is played: who supports whom, (G, n, n) bool [game, stage, group], and the losses that each
    group expects when a stage begins, (G, n + 1, n) [game, stage, group]."""

    support: torch.Tensor
    losses: torch.Tensor


def attack_in_order(games, most=True):
    """A subgame-perfect equilibrium in pure strategies of each game, by backward induction; no profile is enumerated.

    Let a later group j lose D_j after a lost stage, let w_1 >= w_2 >= … be the ratios D_j / cost_j in order, and P(R) the
    chance of R fighters. A set of k supporters can be an equilibrium if and only if w_k · (P(k + 1) - P(k)) >= 1, so that
    the last one stays, and w_(k+1) · (P(k + 2) - P(k + 1)) < 1, so that no other joins. So the equilibria are where a row
    of yes and no turns from yes to no: there always is one; the largest ends at the last yes, the smallest before the
    first no.

    Args:
        games: a batch of n groups; work per game grows as n² log n.
        most: whether to take the equilibrium with most supporters, or with fewest. Of equal sets the most willing support.

    Returns:
        A `Play`.
    """
    G, n = games.stake.shape
    support = torch.zeros(G, n, n, dtype=torch.bool, device=games.stake.device)
    losses = games.stake.new_zeros(G, n + 1, n)
    discount = games.patience * games.belief
    for t in reversed(range(n)):
        D = discount[:, t + 1 :] * losses[:, t + 1, t + 1 :]
        cost = games.cost[:, t + 1 :]
        sizes = torch.arange(n - t, device=D.device, dtype=torch.int8)
        wins = chance(1 + sizes, games.strength[:, t, None], games.steepness)
        willing, who = (D / cost).sort(dim=1, descending=True, stable=True)
        worth = torch.ones_like(wins, dtype=torch.int8)
        worth[:, 1:] = willing * wins.diff(dim=1) >= 1
        size = (worth if most else worth.cumprod(1, dtype=torch.int8)) * sizes
        size = size.amax(1, keepdim=True)
        support[:, t, t + 1 :] = torch.zeros_like(D, dtype=torch.bool).scatter(1, who, sizes[1:] <= size)
        lose = 1 - wins.gather(1, size.long())
        losses[:, t, t + 1 :] = lose * D + cost * support[:, t, t + 1 :]
        losses[:, t, t] = lose[:, 0] * games.stake[:, t]
    return Play(support, losses)


def stage_payoffs(games, losses, stage):
    """Payoffs (G, m, 2, …, 2) of the m = n - 1 - stage later groups at a stage, each abstaining or supporting, when
    `losses` (G, n + 1, n) is what follows; for `pure_equilibria`."""
    G, n = games.stake.shape
    m = n - 1 - stage
    profiles = torch.tensor(list(product((0.0, 1.0), repeat=m)), dtype=losses.dtype, device=losses.device)
    lose = 1 - chance(1 + profiles.sum(1), games.strength[:, stage, None], games.steepness)
    D = (games.patience * games.belief * losses[:, stage + 1])[:, stage + 1 :]
    payoffs = -lose[:, None] * D[:, :, None] - games.cost[:, stage + 1 :, None] * profiles.T
    return payoffs.view(G, m, *[2] * m)


def enumerated_sizes(games, play):
    """Check of `attack_in_order` by enumeration of all 2^m profiles of every stage with m > 0 helpers.

    Returns:
        whether the play's own profile is an equilibrium of the stage, and the fewest and most supporters of any
        equilibrium there: three tensors (G, n - 1).
    """
    n = games.stake.shape[1]
    columns = []
    for t in range(n - 1):
        m = n - 1 - t
        found = pure_equilibria(stage_payoffs(games, play.losses, t)).flatten(1)
        bits = 2 ** torch.arange(m - 1, -1, -1, device=found.device)
        mine = found.gather(1, (play.support[:, t, t + 1 :] * bits).sum(1, keepdim=True))[:, 0]
        size = torch.tensor([sum(p) for p in product((0, 1), repeat=m)], device=found.device)
        fewest, most = torch.where(found, size, m + 1).amin(1), torch.where(found, size, -1).amax(1)
        columns.append((mine, fewest, most))
    return tuple(torch.stack(column, 1) for column in zip(*columns, strict=True))


def plain_attack_in_order(stake, cost, patience, belief, strength, steepness):
    """`attack_in_order` for one game in plain Python, enumerating profiles: the reference. Lists of n numbers, and one.

    Returns:
        supporters for each stage (a list of sets), losses for each stage (a list of n + 1 lists).
    """
    n = len(stake)
    losses, supporters = [[0.0] * n], []

    def win(fighters, t):
        return 1 / (1 + (strength[t] / fighters) ** steepness)

    for t in reversed(range(n)):
        D = {j: patience[j] * belief[j] * losses[0][j] for j in range(t + 1, n)}
        stable = []
        for profile in product((0, 1), repeat=len(D)):
            helpers = {j for j, s in zip(D, profile, strict=True) if s}
            R = 1 + len(helpers)
            if all((win(R, t) - win(R - 1, t)) * D[j] >= cost[j] for j in helpers) and all(
                (win(R + 1, t) - win(R, t)) * D[j] < cost[j] for j in D if j not in helpers
            ):
                stable.append((len(helpers), sum(D[j] / cost[j] for j in helpers), helpers))
        helpers = max(stable, key=lambda found: found[:2])[2]
        lose = 1 - win(1 + len(helpers), t)
        row = [lose * D[j] + cost[j] * (j in helpers) if j > t else lose * stake[j] * (j == t) for j in range(n)]
        losses.insert(0, row)
        supporters.insert(0, helpers)
    return supporters, losses


def groups_lost(games, support):
    """How many groups T takes on average if it attacks in order and `support` (G, n, n) is who helps, (G,).

    `games` holds the truth; `support` may come from other beliefs.
    """
    lose = 1 - chance(1 + support.sum(2), games.strength, games.steepness)
    reach = torch.cat([torch.ones_like(lose[:, :1]), (lose[:, :-1] * games.belief[:, 1:]).cumprod(1)], 1)
    return (reach * lose).sum(1)


def groups_lost_at_once(games):
    """How many T takes on average if it attacks all n at its first strength: each fights, and all win or all lose, (G,)."""
    n = games.stake.shape[1]
    return n * (1 - chance(n, games.strength[:, 0], games.steepness[:, 0]))


def best_orders(games, progress=iter):
    """T's best order of attack against each game, over all n! orders; T itself is certain to go on to the end.

    Returns:
        the order (G, n), and the groups lost under the best order for T, under the mean over orders and under the worst:
        (G, 3).
    """
    orders = list(permutations(range(games.stake.shape[1])))
    lost = []
    for order in progress(orders):
        turned = games.order(order)
        truth = replace(turned, belief=torch.ones_like(turned.belief))
        lost.append(groups_lost(truth, attack_in_order(turned).support))
    lost = torch.stack(lost, 1)
    best = torch.tensor(orders, device=lost.device)[lost.argmax(1)]
    return best, torch.stack([lost.amax(1), lost.mean(1), lost.amin(1)], 1)


# ---- third reconstruction: a population with thresholds ------------------------------------------------------------------

CORE = 0.10  # share of people who take part whatever happens
HALF = 0.30  # effort at which the movement wins with chance 1/2
COST = 0.25  # cost of taking part
NOISE = 0.06  # scale of the logistic scatter of costs
GRID = np.geomspace(0.01, 8, 900)  # what taking part is worth to a fully aware, fully exposed person


def power(x):
    """Chance that the movement wins if a share x of the uncommitted takes part: y²/(y² + HALF²), y = CORE + (1 - CORE) x."""
    y = CORE + (1 - CORE) * x
    return y * y / (y * y + HALF * HALF)


def awareness_range(awareness):
    """Least and largest awareness in a population with this mean: mean ± 0.9 min(mean, 1 - mean)."""
    half = 0.9 * np.minimum(awareness, 1 - np.asarray(awareness))
    return awareness - half, awareness + half


def _check_population(patience, awareness, spread):
    tops = {"patience": (patience, 1), "awareness": (awareness, 1 - 1e-9), "spread": (spread, 1e6)}
    for name, (value, top) in tops.items():
        value = np.asarray(value, float)
        if not (np.isfinite(value).all() and value.size and value.min() > 0 and value.max() <= top):
            raise ValueError(f"{name} = {value}: expected numbers above 0 and at most {top:.9g}")


def response(worth, patience, awareness, spread, nodes=24):
    """Share of the uncommitted who take part, if it is worth `worth` to the fully aware and fully exposed.

    A person who will be hit at time tau ~ U(0, spread) and gives that probability q takes part if and only if
    patience^tau · q · worth exceeds a logistic cost of mean COST and scale NOISE. The mean over q ~ U(awareness_range) is
    exact, the one over tau by Gauss and Legendre.

    Args:
        worth: (Z,) positive.
        patience, awareness, spread: numbers, or arrays that broadcast to a common shape S.
        nodes: of the quadrature.

    Returns:
        numpy float64, shape S + (Z,).

    Raises:
        ValueError: for patience outside (0, 1], awareness outside (0, 1) or spread not positive and finite.
    """
    _check_population(patience, awareness, spread)
    z, patience, spread, low, high = (
        torch.as_tensor(np.asarray(v, float))[..., None] for v in (worth, patience, spread, *awareness_range(awareness))
    )
    share, (at, weight) = 0, np.polynomial.legendre.leggauss(nodes)
    for u, w in zip((at + 1) / 2, weight / 2, strict=True):
        slope = patience ** (u * spread) * z[:, 0] / NOISE
        top, bottom = (softplus(slope * q - COST / NOISE) for q in (high, low))
        share = share + w * (top - bottom) / (slope * (high - low))
    return share.numpy()


def branch(patience, awareness, spread):
    """All states of rest at once: efficacy and participation x along a curve, each of shape S + (len(GRID),).

    At rest x = response(efficacy · power(x)). For any value z = efficacy · power(x) that gives x = response(z) and
    efficacy = z / power(x): nothing needs to be solved. A state is stable where efficacy rises along the curve.
    """
    x = response(GRID, patience, awareness, spread)
    return GRID / power(x), x


def window(patience, awareness, spread):
    """The efficacies between which two states are stable: (low, high), each of shape S; NaN where there are none.

    They are the folds of `branch`: its first local maximum and the lowest point after it.
    """
    efficacy, _ = branch(patience, awareness, spread)
    falls = np.diff(efficacy) < 0
    first = np.where(falls.any(-1), falls.argmax(-1), -1)
    after = np.where(np.arange(efficacy.shape[-1]) >= first[..., None], efficacy, np.inf)
    folds = np.take_along_axis(efficacy, np.maximum(first, 0)[..., None], -1)[..., 0]
    return tuple(np.where(first >= 0, v, np.nan) for v in (after.min(-1), folds))


def rest(efficacy, patience, awareness, spread):
    """Participation in the lowest and highest stable state at `efficacy` (a number): two arrays of shape S.

    Both are the same outside the window.
    """
    check("efficacy", efficacy, float, above=0)
    e, x = branch(patience, awareness, spread)
    up = (e[..., :-1] < efficacy) & (e[..., 1:] >= efficacy)
    if not up.any(-1).all():
        raise ValueError(f"efficacy = {efficacy}: expected one below {e[..., -1].min():.3g}")
    first, last = up.argmax(-1), up.shape[-1] - 1 - up[..., ::-1].argmax(-1)

    def at(i):
        e0, e1, x0, x1 = (np.take_along_axis(v, (i + d)[..., None], -1)[..., 0] for v in (e, x) for d in (0, 1))
        return x0 + (x1 - x0) * (efficacy - e0) / (e1 - e0)

    return at(first), at(last)


def thresholds(populations, people, patience, awareness, spread, seed=0, device="cpu"):
    """People drawn one by one: the worth from which each takes part, sorted, (populations, people) float64."""
    check("populations", populations, int, low=1)
    check("people", people, int, low=1)
    _check_population(patience, awareness, spread)
    low, high = (float(v) for v in awareness_range(awareness))
    boxes = {"tau": (0, spread), "q": (low, high), "u": (0, 1)}
    drawn = _draw(boxes, (populations, people), seed, device)
    return ((COST + NOISE * drawn["u"].logit()) / (patience ** drawn["tau"] * drawn["q"])).sort(1).values


def follow(people, efficacies, start=0.0):
    """Participation of each population when efficacy takes these values in turn and everyone keeps responding.

    Args:
        people: sorted thresholds (populations, people).
        efficacies: numbers, in order of time.
        start: participation at the beginning.

    Returns:
        (len(efficacies), populations): the state of rest after each change (at most 1000 rounds of responses).
    """
    x = people.new_full((len(people), 1), start)
    states = []
    for efficacy in efficacies:
        for _ in range(1000):
            before, x = x, torch.searchsorted(people, efficacy * power(x), right=True).to(people) / people.shape[1]
            if torch.equal(before, x):
                break
        states.append(x[:, 0])
    return torch.stack(states)


def rollout_value(paces, participation, rate):
    """What the threat gains if it spreads its attack over `paces` periods, discounts at `rate` and meets this participation.

    (1 - power(x)) (1 - exp(-rate T)) / (rate T), elementwise.
    """
    check("rate", rate, float, above=0)
    return (1 - power(participation)) * -np.expm1(-rate * paces) / (rate * paces)


def equal_areas(patience, awareness, spread):
    """The efficacy in the window at which the two stable states balance: the integral of z - efficacy · power(x) over x
    from the lower to the higher state is zero, z = response⁻¹(x). Maxwell's rule; a float.

    Raises:
        ValueError: if there is no window.
    """
    low, high = (float(v) for v in window(patience, awareness, spread))
    if math.isnan(low):
        raise ValueError(f"patience, awareness, spread = {patience, awareness, spread}: expected two stable states")
    _, x = branch(patience, awareness, spread)

    def area(efficacy):
        ends = (float(v) for v in rest(efficacy, patience, awareness, spread))
        at = np.linspace(*ends, 2000)
        return np.trapezoid(np.interp(at, x, GRID) - efficacy * power(at), at)

    return brentq(area, low + 1e-4, high - 1e-4, xtol=1e-6)


def private_beliefs(doubt, efficacies, patience, awareness, spread, start, rounds=20_000):
    """Participation at each true efficacy if everyone knows it only up to a private normal error of scale `doubt`.

    A person who sees s believes that the truth is s + doubt · N(0, 1) and takes part if the mean of efficacy · power(x)
    under that belief is worth it: x = K response(K (efficacy · power(x))), with K the normal average. Starting from nobody
    (0) or everybody (1) the iteration moves one way and ends in the least or the greatest equilibrium.

    Args:
        doubt: scale of the error; several grid steps at least.
        efficacies: evenly spaced grid of true values, (E,). Within 4 `doubt` of its ends the average is cut short.
        start: 0 or 1.
        rounds: at most; the iteration stops when no value moves by 1e-10.

    Returns:
        x (E,), float64.
    """
    check("doubt", doubt, float, low=2 * float(efficacies[1] - efficacies[0]))
    check("rounds", rounds, int, low=1)
    K = np.exp(-0.5 * ((efficacies[:, None] - efficacies) / doubt) ** 2)
    K /= K.sum(1, keepdims=True)
    _, shares = branch(patience, awareness, spread)
    x = np.full(len(efficacies), float(start))
    for _ in range(rounds):
        before, x = x, K @ np.interp(K @ (efficacies * power(x)), GRID, shares, left=shares[0])
        if np.abs(x - before).max() < 1e-10:
            break
    return x
