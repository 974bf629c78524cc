"""Third reconstruction: many people with thresholds, whose efforts feed on each other (after Granovetter 1978)."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import softplus

from ...checks import check
from .games import CHANCE, WEAKER, uniform

NODES = 24  # of the quadrature over the time of harm
GRID = np.geomspace(1e-5, 40, 1200)  # what taking part is worth to a fully aware, fully exposed person, in mean costs
BOXES = {  # arbitrary, and chosen before any result was seen
    "patience": CHANCE,
    "awareness": CHANCE,
    "spread": (0, 8),
    "stake": (1, 10),
    "core": (0.02, 0.2),
    "half": (0.1, 0.6),
    "noise": (0.1, 0.5),
    "efficacy": (0.01, 1),
    "threat_patience": (0.9, 1),
}
AT_ONCE = 0.01  # periods over which an attack on everybody at once is spread
CERTAIN = 1 - 1e-9  # mean awareness when it is on


@dataclass(frozen=True)
class Population:
    """A batch of populations; every field is a number or an array, and all broadcast to a common shape S.

    A person who will be hit at a time tau ~ U(0, spread) and is q sure of that takes part if and only if
    patience^tau · q · stake · efficacy · win(x) exceeds a cost with mean 1, when a share x of the uncommitted takes part.

    Attributes:
        patience: everyone's discount factor a period.
        awareness: mean of q, which is uniform with half-width 0.9 min(awareness, 1 - awareness).
        spread: periods over which the threat spreads its attack.
        stake: what a person loses, in multiples of the mean cost of taking part.
        core: share of people who take part whatever happens.
        half: effort at which the movement wins with chance 1/2.
        noise: scale of the logistic scatter of costs.
    """

    patience: ndarray
    awareness: ndarray
    spread: ndarray
    stake: ndarray
    core: ndarray
    half: ndarray
    noise: ndarray

    def __post_init__(self):
        tops = {"patience": 1, "awareness": CERTAIN, "spread": 1e6, "stake": 1e6, "core": 1, "half": 1e6, "noise": 1e6}
        for name, top in tops.items():
            value = np.asarray(getattr(self, name), float)
            if not (np.isfinite(value).all() and value.size and value.min() > 0 and value.max() <= top):
                raise ValueError(f"{name} = {value}: expected numbers above 0 and at most {top:.9g}")
            object.__setattr__(self, name, value)

    def win(self, x: ndarray) -> ndarray:
        """Chance to win if a share x of the uncommitted takes part: y²/(y² + half²), y = core + (1 - core) x."""
        y = self.core + (1 - self.core) * x
        return y * y / (y * y + self.half * self.half)

    @property
    def awareness_range(self) -> tuple[ndarray, ndarray]:
        """Least and largest q of any person."""
        half = 0.9 * np.minimum(self.awareness, 1 - self.awareness)
        return self.awareness - half, self.awareness + half

    def response(self, worth: ndarray) -> ndarray:
        """Share of the uncommitted who take part if it is worth `worth` (Z,) to the fully aware and fully exposed, S + (Z,).

        The mean over q is exact where q matters, the one over tau by Gauss and Legendre.
        """
        patience, spread, noise, low, high = (
            torch.as_tensor(v)[..., None] for v in (self.patience, self.spread, self.noise, *self.awareness_range)
        )
        z, share = torch.as_tensor(worth), 0
        for u, w in zip(*np.polynomial.legendre.leggauss(NODES), strict=True):
            slope = patience ** ((u + 1) / 2 * spread) * z / noise
            top, bottom = (softplus(slope * q - 1 / noise) for q in (high, low))
            gap, middle = slope * (high - low), (slope * (high + low) / 2 - 1 / noise).sigmoid()
            share = share + w / 2 * torch.where(gap > 1e-6, (top - bottom) / gap, middle)
        return share.numpy()

    @cached_property
    def equilibria(self) -> tuple[ndarray, ndarray]:
        """All equilibria at once: efficacy and participation x along a curve, each of shape S + (len(GRID),).

        In equilibrium x = response(stake · efficacy · win(x)). For any value z = stake · efficacy · win(x) that gives
        x = response(z) and efficacy = z / (stake · win(x)): nothing needs to be solved. An equilibrium is stable where
        efficacy rises along the curve. An efficacy over 1 is a belief in more than the truth.
        """
        x = self.response(GRID)
        wide = replace(self, **{field.name: getattr(self, field.name)[..., None] for field in fields(self)})
        return GRID / (wide.stake * wide.win(x)), x

    def stable(self, efficacy: ndarray) -> ndarray:
        """Participation in the least and the greatest stable equilibrium at `efficacy` (of shape S, or a number): (2,) + S.

        Raises:
            ValueError: if the efficacy lies beyond the curve.
        """
        e, x = self.equilibria
        efficacy = np.asarray(efficacy, float)[..., None]
        up = (e[..., :-1] < efficacy) & (e[..., 1:] >= efficacy)
        if not up.any(-1).all():
            raise ValueError(
                f"efficacy = {efficacy.min()} to {efficacy.max()}: expected some within the curve of equilibria"
            )
        ends = []
        for i in (up.argmax(-1), up.shape[-1] - 1 - up[..., ::-1].argmax(-1)):
            e0, e1, x0, x1 = (np.take_along_axis(v, i[..., None] + d, -1)[..., 0] for v in (e, x) for d in (0, 1))
            ends.append(x0 + (x1 - x0) * (efficacy[..., 0] - e0) / (e1 - e0))
        return np.stack(ends)


def draw(count: int, seed: int = 0) -> tuple[Population, Float[ndarray, " count"], Float[ndarray, " count"]]:
    """`count` random populations from `BOXES`, with the efficacy that each believes in and the patience of its threat."""
    check("count", count, int, low=1)
    values = {name: value.numpy() for name, value in uniform(BOXES, count, seed).items()}
    efficacy, threat_patience = values.pop("efficacy"), values.pop("threat_patience")
    return Population(**values), efficacy, threat_patience


def readiness(population: Population, efficacy: ndarray) -> ndarray:
    """What taking part is worth in the greatest stable equilibrium, over its mean cost, to a person of mean awareness who
    will be hit at the mean time."""
    wins = efficacy * population.win(population.stable(efficacy)[1])
    return population.stake * population.awareness * population.patience ** (population.spread / 2) * wins


def hopeful(population: Population) -> Population:
    """The same populations if all believe that 30 % less effort wins as often."""
    return replace(population, half=WEAKER * population.half)


def takings(population: Population, efficacy: ndarray, threat_patience: ndarray) -> dict[str, ndarray]:
    """What the threat expects to take, as a share of all it could: `in_turn`, over `spread` periods, and all `at_once`.

    It meets the greatest stable equilibrium, and counts what it takes after t periods as threat_patience^t of it. At once
    means that nobody's harm is far off or in doubt.
    """
    rate = -np.log(threat_patience) * population.spread
    mean_discount = -np.expm1(-rate) / rate
    certain = {"spread": 0 * population.spread + AT_ONCE, "awareness": 0 * population.awareness + CERTAIN}
    spread, at_once = (1 - p.win(p.stable(efficacy)[1]) for p in (population, replace(population, **certain)))
    return {"in_turn": spread * mean_discount, "at_once": at_once}


def people(population: Population, populations: int, count: int, seed: int = 0) -> Float[Tensor, "populations people"]:
    """`count` people of one population, drawn one by one, several times: the worth from which each takes part, sorted."""
    check("populations", populations, int, low=1)
    check("count", count, int, low=1)
    low, high = (float(v) for v in population.awareness_range)
    boxes = {"tau": (0, float(population.spread)), "q": (low, high), "u": (0, 1)}
    drawn = uniform(boxes, (populations, count), seed)
    cost = 1 + float(population.noise) * drawn["u"].logit()
    return (cost / (float(population.patience) ** drawn["tau"] * drawn["q"])).sort(1).values


def follow(
    population: Population, thresholds: Float[Tensor, "populations people"], efficacies: ndarray, start: float = 0.0
) -> Float[Tensor, "moments populations"]:
    """Participation when efficacy takes these values in turn, from `start`, and everyone keeps responding to everyone."""
    x = thresholds.new_full((len(thresholds), 1), start)
    states = []
    for efficacy in efficacies:
        for _ in range(1000):
            worth = torch.from_numpy(population.stake * efficacy * population.win(x.numpy()))
            before, x = x, torch.searchsorted(thresholds, worth, right=True).double() / thresholds.shape[1]
            if torch.equal(before, x):
                break
        states.append(x[:, 0])
    return torch.stack(states)
