"""A blind audit: tests that different access permits, judged against healthy models at one rate of false alarms."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ACCESS = {
    "black": ("black",),
    "grey": ("black", "grey"),
    "white": ("black", "grey", "white"),
    "black + outside": ("black", "outside"),
    "white + outside": ("black", "grey", "white", "outside"),
}
RATE = 0.1  # of false alarms, of all permitted tests together


@dataclass(frozen=True)
class Test:
    """One test, run on healthy models and on the models in question.

    Attributes:
        name: what the page calls it.
        level: the access that it needs: black, grey, white or outside.
        healthy: scores of healthy models that are sold for the same task, (healthy,); more is more suspicious.
        boxes: scores of the models in question.
        cost: of testing one model, in forward passes; other arithmetic is converted by its number of multiplications.
        grain: the smallest difference in score that means anything, such as one image in a hundred.
    """

    name: str
    level: str
    healthy: Float[Tensor, " healthy"]
    boxes: Float[Tensor, " boxes"]
    cost: float
    grain: float


def permitted(tests: Sequence[Test], access: str) -> list[Test]:
    """The tests that `access`, a key of `ACCESS`, permits.

    Raises:
        ValueError: for another access.
    """
    if access not in ACCESS:
        raise ValueError(f"access = {access!r}: expected one of {list(ACCESS)}")
    return [test for test in tests if test.level in ACCESS[access]]


def strengths(tests: Sequence[Test]) -> tuple[Float[Tensor, "tests boxes"], Float[Tensor, " boxes"]]:
    """How far each box stands out in each test, and what it takes for an alarm.

    A box joins the n healthy models of its task. In this pool a test's scores are measured from their median, in units of
    their distance from there to the 95th percentile (at least the test's grain). What counts is a model's largest value over
    all tests. If the box is healthy, it is one of n + 1 models that differ by chance, so it is among the ⌊`RATE` (n + 1)⌋
    most suspicious with probability `RATE` at most, however many tests there are (a conformal test; Vovk et al. 2005).

    Returns:
        strengths, and for each box the largest strength of the pool's models that may not ring: an alarm lies above it.
    """
    layers = []
    for test in tests:
        boxes = test.boxes.double()[:, None]
        pool = torch.cat([test.healthy.double().expand(len(boxes), -1), boxes], 1)
        middle = pool.quantile(0.5, 1, keepdim=True)
        layers.append((pool - middle) / (pool.quantile(0.95, 1, keepdim=True) - middle).clamp(min=test.grain))
    every = torch.stack(layers)
    largest = every.amax(0)
    ringing = int(RATE * largest.shape[1])
    limit = largest.kthvalue(largest.shape[1] - ringing, 1).values
    return every[..., -1], limit


def alarms(tests: Sequence[Test]) -> Bool[Tensor, " boxes"]:
    """For which boxes these tests, taken together, ring."""
    each, limit = strengths(tests)
    return each.amax(0) > limit
