"""First reconstruction: a threat, a current victim and a future victim, who each decide once."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...checks import check
from .games import CHANCE, NEVER_NEGATIVE, WEAKER, check_fields, uniform

REGIMES = ("nobody acts", "left alone", "would be backed, gives up", "united")
BOXES = {  # arbitrary, and chosen before any result was seen
    "alone": CHANCE,
    "gain": CHANCE,
    "stake_now": (0, 10),
    "stake": (0, 10),
    "awareness": CHANCE,
    "efficacy": CHANCE,
    "patience": CHANCE,
    "delay": (0, 4),
    "repel": CHANCE,
    "cost_support": (0, 2),
    "cost_resist": (0, 5),
    "threat_patience": (0.9, 1),
}


class Outcome(NamedTuple):
    """What happens in each game: does the future victim support, and does the current one resist?"""

    support: Bool[Tensor, " games"]
    resist: Bool[Tensor, " games"]


@dataclass(frozen=True)
class Alliance:
    """A batch of games between a threat, its current victim and its future victim.

    The current victim resists or gives up; the future victim sees it and supports or not; then the contest. If the threat
    wins, it comes for the future victim `delay` periods later, for certain; how sure of that the victim is, is `awareness`.

    Attributes:
        alone, together: true chance that the current victim wins without and with support, alone <= together.
        stake_now, stake: what the current and the future victim lose if the threat takes them.
        awareness: how sure the future victim is that the threat comes for it next.
        efficacy: how sure both are that effort is not futile: they believe in `efficacy` times each true chance.
        patience: the future victim's discount factor a period; myopia is 1 - patience.
        delay: periods until the threat comes for the future victim.
        repel: true chance that the future victim then wins alone.
        cost_support, cost_resist: what supporting and resisting cost.
        threat_patience: the threat's discount factor a period.
    """

    alone: Float[Tensor, " games"]
    together: Float[Tensor, " games"]
    stake_now: Float[Tensor, " games"]
    stake: Float[Tensor, " games"]
    awareness: Float[Tensor, " games"]
    efficacy: Float[Tensor, " games"]
    patience: Float[Tensor, " games"]
    delay: Float[Tensor, " games"]
    repel: Float[Tensor, " games"]
    cost_support: Float[Tensor, " games"]
    cost_resist: Float[Tensor, " games"]
    threat_patience: Float[Tensor, " games"]

    def __post_init__(self):
        chances = ("alone", "together", "awareness", "efficacy", "patience", "repel", "threat_patience")
        others = ("stake_now", "stake", "delay", "cost_support", "cost_resist")
        check_fields(self, dict.fromkeys(chances, CHANCE) | dict.fromkeys(others, NEVER_NEGATIVE))
        if (self.alone > self.together).any():
            raise ValueError(f"alone = {self.alone.max():.4g} at most: expected alone <= together in every game")

    @property
    def at_stake(self) -> Float[Tensor, " games"]:
        """What the future victim expects to lose later if the threat wins now."""
        return self.patience**self.delay * self.awareness * (1 - self.efficacy * self.repel) * self.stake


def draw(count: int, seed: int = 0, boxes: dict = BOXES, device: str = "cpu") -> Alliance:
    """`count` random games. `boxes` has the bounds of each quantity; `gain` is that of (together - alone) / (1 - alone)."""
    check("count", count, int, low=1)
    values = {name: value[:, 0] for name, value in uniform(boxes, (count, 1), seed, device).items()}
    values["together"] = values["alone"] + (1 - values["alone"]) * values.pop("gain")
    return Alliance(**values)


def resists(games: Alliance, chance: Float[Tensor, " games"]) -> Bool[Tensor, " games"]:
    """Whether the current victim resists if it truly wins with `chance`: efficacy · chance · stake_now >= cost_resist."""
    return games.efficacy * chance * games.stake_now >= games.cost_resist


def equilibrium(games: Alliance) -> Outcome:
    """The subgame-perfect equilibrium of each game; ties go to supporting and resisting.

    The future victim supports a resisting current victim if and only if at_stake · efficacy · (together - alone) is at least
    cost_support; the current victim knows that.
    """
    support = games.at_stake * games.efficacy * (games.together - games.alone) >= games.cost_support
    return Outcome(support, resists(games, torch.where(support, games.together, games.alone)))


def prevail(games: Alliance, outcome: Outcome) -> Float[Tensor, " games"]:
    """True chance that the current victim wins, if that is what both do (under any beliefs)."""
    return torch.where(outcome.support, games.together, games.alone) * outcome.resist


def gains(games: Alliance, persuaded: Alliance) -> tuple[Float[Tensor, " games"], Float[Tensor, " games"]]:
    """Change of unity (both act: 1, else 0) and of the true chance to prevail when both believe what those in `persuaded`
    do; `games` has the truth."""
    before, after = equilibrium(games), equilibrium(persuaded)
    unity = (after.support & after.resist).double() - (before.support & before.resist).double()
    return unity, prevail(games, after) - prevail(games, before)


def hopeful(games: Alliance) -> Alliance:
    """The same games if all believe the threat 30 % weaker: the odds of every fight, common or lonely, rise by 1 / 0.7."""
    chances = {name: getattr(games, name) for name in ("alone", "together", "repel")}
    return replace(games, **{name: p / (p + WEAKER * (1 - p)) for name, p in chances.items()})


def normal_form(games: Alliance) -> Float[Tensor, "games 2 2 2"]:
    """Payoffs if both must decide without seeing each other, for `pure_equilibria`.

    Players: current, future victim. Actions: give up or resist; abstain or support.
    """
    at_stake, lost, c = games.at_stake, games.stake_now, games.cost_support
    chances = games.efficacy[:, None] * torch.stack([games.alone, games.together], 1)
    current = torch.stack([-lost[:, None].expand(-1, 2), -(1 - chances) * lost[:, None] - games.cost_resist[:, None]], 1)
    future = -torch.stack([at_stake[:, None].expand(-1, 2), (1 - chances) * at_stake[:, None]], 1)
    future = future - torch.stack([torch.zeros_like(c), c], 1)[:, None]
    return torch.stack([current, future], 1)


def regime(outcome: Outcome) -> Int[Tensor, " games"]:
    """Index into `REGIMES` of each game."""
    return outcome.resist + 2 * outcome.support


def readiness(games: Alliance) -> Float[Tensor, " games"]:
    """What supporting saves the future victim, as it sees it, over its cost."""
    return games.at_stake * games.efficacy * (games.together - games.alone) / games.cost_support


def takings(games: Alliance) -> dict[str, Float[Tensor, " games"]]:
    """What the threat expects to take, as a share of all it could: `in_turn`, one after the other, and both `at_once`.

    If both are attacked at once, each may fight alone; or they fight together, if that pays for the future victim and the
    current victim then resists. One after the other, the later prize counts threat_patience^delay of its stake.
    """
    all_of_it = games.stake_now + games.stake
    later = games.threat_patience**games.delay * (1 - games.repel) * games.stake
    in_turn = (1 - prevail(games, equilibrium(games))) * (games.stake_now + later)
    joins = games.efficacy * (games.together - games.repel) * games.stake >= games.cost_support
    joins = joins & resists(games, games.together)
    apart = (1 - games.alone * resists(games, games.alone)) * games.stake_now + (1 - games.repel) * games.stake
    return {"in_turn": in_turn / all_of_it, "at_once": torch.where(joins, 1 - games.together, apart / all_of_it)}
