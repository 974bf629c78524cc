"""Second reconstruction: a threat attacks n groups one after the other, and later groups may help earlier ones."""

from dataclasses import dataclass, replace
from itertools import permutations
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...checks import check
from .games import CHANCE, NEVER_NEGATIVE, POSITIVE, WEAKER, check_fields, uniform

OWN = {  # what a group has; all boxes are arbitrary, and were chosen before any result was seen
    "stake": (1, 10),
    "cost": (0.02, 0.6),
    "patience": CHANCE,
    "awareness": CHANCE,
    "efficacy": CHANCE,
}
BOXES = OWN | {"strength": (0.5, 6), "growth": (0, 0.5), "steepness": (0.5, 2), "delay": (0, 4), "threat_patience": (0.9, 1)}


@dataclass(frozen=True)
class SequentialAttack:
    """A batch of games in which a threat attacks n groups, in order of their number.

    At stage t group t fights with weight 1 and each later group may add weight 1 at its own cost. Fighters of total weight
    R win with chance R^g / (R^g + A^g), and the game ends; else group t is lost and the threat goes on to the next, for
    certain.

    Attributes:
        stake: what a group loses when it is taken.
        cost: what helping once costs it.
        patience: its discount factor a period.
        awareness: how sure it is that the threat goes on.
        efficacy: how sure it is that effort is not futile: it believes in `efficacy` times each true chance.
        strength: A, the threat's strength at each stage.
        steepness: g.
        delay: periods from stage to stage.
        threat_patience: the threat's discount factor a period.
    """

    stake: Float[Tensor, "games groups"]
    cost: Float[Tensor, "games groups"]
    patience: Float[Tensor, "games groups"]
    awareness: Float[Tensor, "games groups"]
    efficacy: Float[Tensor, "games groups"]
    strength: Float[Tensor, "games groups"]
    steepness: Float[Tensor, "games 1"]
    delay: Float[Tensor, "games 1"]
    threat_patience: Float[Tensor, "games 1"]

    def __post_init__(self):
        chances = dict.fromkeys(("patience", "awareness", "efficacy", "threat_patience"), CHANCE)
        others = dict.fromkeys(("stake", "strength", "delay"), NEVER_NEGATIVE)
        check_fields(self, chances | others | {"cost": POSITIVE, "steepness": (POSITIVE[0], 50)})
        for name in (*OWN, "strength"):
            if getattr(self, name).shape != self.stake.shape or self.stake.dim() != 2:
                raise ValueError(f"{name} = tensor of shape {tuple(getattr(self, name).shape)}: expected (games, groups)")

    @property
    def discount(self) -> Float[Tensor, "games groups"]:
        """What a certain loss at the next stage weighs now: patience^delay · awareness."""
        return self.patience**self.delay * self.awareness

    def order(self, order: object) -> "SequentialAttack":
        """The same groups attacked in another order: a permutation of range(n), or a tensor (games, n) of them."""
        index = torch.as_tensor(order, device=self.stake.device).expand(self.stake.shape)
        return replace(self, **{name: getattr(self, name).gather(1, index) for name in OWN})


def draw(
    count: int, groups: int, seed: int = 0, boxes: dict = BOXES, *, alike: bool = True, device: str = "cpu"
) -> SequentialAttack:
    """`count` random games of `groups` groups, all alike within a game or each drawn on its own.

    `boxes` has the bounds of each quantity; `strength` is that of the first stage, which grows by `growth` times itself each
    stage.
    """
    check("count", count, int, low=1)
    check("groups", groups, int, low=1)
    shared = uniform({name: box for name, box in boxes.items() if name not in OWN}, (count, 1), seed, device)
    own = uniform({name: boxes[name] for name in OWN}, (count, 1 if alike else groups), seed + 1_000_003, device)
    growth = 1 + shared.pop("growth") * torch.arange(groups, device=device)
    shared["strength"] = shared["strength"] * growth
    return SequentialAttack(**{name: value.expand(count, groups) for name, value in own.items()}, **shared)


def chance(fighters: object, strength: object, steepness: object) -> Tensor:
    """R^g / (R^g + A^g): the chance that fighters of weight R beat a threat of strength A, elementwise (Tullock 1980)."""
    return 1 / (1 + (strength / fighters) ** steepness)


class Plan(NamedTuple):
    """How a game is played: who helps whom, at [game, stage, group], and the losses that each group expects when a stage
    begins."""

    support: Bool[Tensor, "games stages groups"]
    losses: Float[Tensor, "games stages+1 groups"]


def equilibrium(games: SequentialAttack, most: bool = True) -> Plan:
    """A subgame-perfect equilibrium in pure strategies of each game, by backward induction; no profile is enumerated.

    Let a later group j lose D_j after a lost stage, let w_1 >= w_2 >= … be the ratios efficacy_j · D_j / cost_j in order,
    and P(R) the chance of R fighters. A set of k supporters can be an equilibrium if and only if w_k · (P(k + 1) - P(k)) is
    at least 1, so that the last one stays, and w_(k+1) · (P(k + 2) - P(k + 1)) is not, so that no other joins. So the
    equilibria are where a row of yes and no turns from yes to no: there always is one; the largest ends at the last yes,
    the smallest before the first no.

    Args:
        games: a batch of n groups; work per game grows as n² log n.
        most: whether to take the equilibrium with most supporters, or with fewest. Of equal sets the most willing support.
    """
    G, n = games.stake.shape
    support = torch.zeros(G, n, n, dtype=torch.bool, device=games.stake.device)
    losses = games.stake.new_zeros(G, n + 1, n)
    discount = games.discount
    for t in reversed(range(n)):
        D = discount[:, t + 1 :] * losses[:, t + 1, t + 1 :]
        cost, efficacy = games.cost[:, t + 1 :], games.efficacy[:, t + 1 :]
        sizes = torch.arange(n - t, device=D.device, dtype=torch.int8)
        wins = chance(1 + sizes, games.strength[:, t, None], games.steepness)
        willing, who = (efficacy * D / cost).sort(dim=1, descending=True, stable=True)
        worth = torch.ones_like(wins, dtype=torch.int8)
        worth[:, 1:] = willing * wins.diff(dim=1) >= 1
        size = (worth if most else worth.cumprod(1, dtype=torch.int8)) * sizes
        size = size.amax(1, keepdim=True)
        support[:, t, t + 1 :] = torch.zeros_like(D, dtype=torch.bool).scatter(1, who, sizes[1:] <= size)
        win = wins.gather(1, size.long())
        losses[:, t, t + 1 :] = (1 - efficacy * win) * D + cost * support[:, t, t + 1 :]
        losses[:, t, t] = (1 - games.efficacy[:, t] * win[:, 0]) * games.stake[:, t]
    return Plan(support, losses)


def united(games: SequentialAttack) -> Bool[Tensor, "games stages groups"]:
    """The support of a movement in which every later group helps at every stage."""
    n = games.stake.shape[1]
    return torch.ones(n, n, dtype=torch.bool, device=games.stake.device).triu(1).expand(len(games.stake), n, n)


def reached(
    games: SequentialAttack, support: Bool[Tensor, "games stages groups"]
) -> tuple[Float[Tensor, "games stages"], Float[Tensor, "games stages"]]:
    """True chance that each stage comes, and that its group is taken, if `support` is who helps (under any beliefs)."""
    lose = 1 - chance(1 + support.sum(2), games.strength, games.steepness)
    taken = lose.cumprod(1)
    return torch.cat([torch.ones_like(lose[:, :1]), taken[:, :-1]], 1), taken


def unity(support: Bool[Tensor, "games stages groups"]) -> Float[Tensor, " games"]:
    """Share of all the help that could be given, at any stage by any later group, that is given."""
    n = support.shape[1]
    return support.sum((1, 2)).double() / max(1, n * (n - 1) / 2)


def saved(games: SequentialAttack, support: Bool[Tensor, "games stages groups"]) -> Float[Tensor, " games"]:
    """Share of the groups that the threat does not take, on average, if `support` is who helps: how far they prevail."""
    return 1 - reached(games, support)[1].mean(1)


def gains(games: SequentialAttack, persuaded: SequentialAttack) -> tuple[Float[Tensor, " games"], Float[Tensor, " games"]]:
    """Change of unity and of the share saved when the groups believe what those in `persuaded` do; `games` has the truth."""
    before, after = equilibrium(games).support, equilibrium(persuaded).support
    return unity(after) - unity(before), saved(games, after) - saved(games, before)


def hopeful(games: SequentialAttack) -> SequentialAttack:
    """The same games if all believe the threat 30 % weaker, at every stage."""
    return replace(games, strength=WEAKER * games.strength)


def takings(games: SequentialAttack, support: Bool[Tensor, "games stages groups"]) -> dict[str, Float[Tensor, " games"]]:
    """What the threat expects to take, as a share of all groups: `in_turn`, one after the other, and all `at_once`.

    One after the other, a group taken at stage t counts threat_patience^(t · delay). If all n are attacked at once, at the
    first stage's strength, each fights, and all win or all lose.
    """
    n = games.stake.shape[1]
    worth = games.threat_patience ** (games.delay * torch.arange(n, device=games.stake.device))
    at_once = 1 - chance(n, games.strength[:, 0], games.steepness[:, 0])
    return {"in_turn": (reached(games, support)[1] * worth).mean(1), "at_once": at_once}


def readiness(games: SequentialAttack) -> Float[Tensor, " games"]:
    """What helping the first group saves the second if nobody else helps, as it sees it, over the cost of helping."""
    alone, helped = (chance(R, games.strength[:, 0], games.steepness[:, 0]) for R in (1, 2))
    later = (games.efficacy * games.discount * games.stake / games.cost)[:, 1]
    return later * (1 - games.efficacy[:, 1] * chance(1, games.strength[:, 1], games.steepness[:, 0])) * (helped - alone)


def turning_strength(games: SequentialAttack, plan: Plan) -> Float[Tensor, " games"]:
    """Strength of the threat from which a believed stronger threat wins less effort instead of more, at the first stage.

    A supporter with benefit B who adds any effort s at cost c to a contest, B (1 + s) / (1 + s + A) - c s, does best with
    s = sqrt(A B / c) - 1 - A, which rises with A up to A = B / 4c and falls beyond (Tullock 1980). Here B is what the
    keenest later group sees at stake: efficacy · discount · expected loss.
    """
    benefit = games.efficacy * games.discount * plan.losses[:, 1]
    return (benefit / games.cost)[:, 1:].amax(1) / 4


def true_losses(games: SequentialAttack, support: Bool[Tensor, "games stages groups"]) -> Float[Tensor, "games groups"]:
    """What each group truly loses on average if `support` is who helps: stakes and the costs of helping, not discounted."""
    comes, taken = reached(games, support)
    return taken * games.stake + (comes[:, :, None] * support).sum(1) * games.cost


def best_orders(games: SequentialAttack, progress=iter) -> tuple[Int[Tensor, "games groups"], Float[Tensor, "games 3"]]:
    """The threat's best order of attack against each game, over all n! orders.

    Returns:
        the order, and the share of groups lost under the best order for the threat, on average over orders, and under the
        worst.
    """
    orders = list(permutations(range(games.stake.shape[1])))
    lost = []
    for order in progress(orders):
        turned = games.order(order)
        lost.append(1 - saved(turned, equilibrium(turned).support))
    lost = torch.stack(lost, 1)
    best = torch.tensor(orders, device=lost.device)[lost.argmax(1)]
    return best, torch.stack([lost.amax(1), lost.mean(1), lost.amin(1)], 1)
