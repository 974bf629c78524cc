"""Explanations that lie: a biased rule, and a scaffold that hides it from whoever asks about unreal records."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

FEATURES = 10
SAMPLES, RIDGE = 1000, 1e-3  # of one explanation


def records(members: int, count: int, correlation: float, generator: torch.Generator) -> Float[Tensor, "members count 10"]:
    """Applicants: a protected feature, then nine others that hang together through three common causes, float64.

    The protected feature has the given `correlation` (0 to 1, less than 1) with the first of these causes.
    """
    factors = torch.randn(members, count, 3, generator=generator, dtype=torch.float64)
    loadings = torch.randn(members, 3, FEATURES - 1, generator=generator, dtype=torch.float64)
    others = factors @ loadings + 0.1 * torch.randn(members, count, FEATURES - 1, generator=generator, dtype=torch.float64)
    protected = torch.randn(members, count, 1, generator=generator, dtype=torch.float64)
    protected = correlation * factors[..., :1] + (1 - correlation**2) ** 0.5 * protected
    x = torch.cat([protected, others], 2)
    return x / x.std(1, keepdim=True)


def honest_rule(x: Tensor) -> Tensor:
    """The biased rule, openly: accept if the protected feature (the first) is positive. Shapes (…, 10) to (…)."""
    return x[..., 0] > 0


def scaffold(real: Float[Tensor, "members count 10"]) -> Callable[[Tensor], Tensor]:
    """The biased rule on records that look real, an innocent one (the second feature) on all others (Slack et al. 2020).

    "Real" is a Mahalanobis distance below that of 99.9 % of the records `real` (members, N, 10). Returns a function of
    x (members, …, 10).
    """
    precision = torch.linalg.inv(torch.einsum("mni,mnj->mij", real, real) / real.shape[1])

    def distance(x):
        return torch.einsum("m...i,mij,m...j->m...", x, precision, x)

    limit = distance(real).quantile(0.999, 1)

    def rule(x):
        looks_real = distance(x) <= limit.view(-1, *[1] * (x.dim() - 2))
        return torch.where(looks_real, x[..., 0] > 0, x[..., 1] > 0)

    return rule


def lime(
    rule: Callable[[Tensor], Tensor], x: Float[Tensor, "members points 10"], generator: torch.Generator
) -> Float[Tensor, "members points 10"]:
    """Weights of local linear explanations (after LIME, Ribeiro et al. 2016) at x (members, E, 10): (members, E, 10).

    Perturbations with the features' standard deviation 1, weighted by exp(-d²/(0.75² 10)), and a ridge regression.
    """
    shift = torch.randn(*x.shape[:2], SAMPLES, FEATURES, generator=generator, dtype=x.dtype)
    answers = rule(x[:, :, None] + shift).to(x.dtype)
    weight = torch.exp(-shift.square().sum(3) / (0.75**2 * FEATURES))[..., None]
    design = torch.cat([torch.ones_like(answers)[..., None], shift], 3)
    gram = design.mT @ (weight * design) + RIDGE * torch.eye(FEATURES + 1, dtype=x.dtype)
    return torch.linalg.solve(gram, (design.mT @ (weight * answers[..., None])))[..., 1:, 0]


def permutation(
    rule: Callable[[Tensor], Tensor], x: Float[Tensor, "members count 10"], generator: torch.Generator
) -> Float[Tensor, "members 10"]:
    """Share of decisions that flip when one feature is shuffled among real records x (members, N, 10): (members, 10)."""
    before, flips = rule(x), []
    for j in range(FEATURES):
        mixed = x.clone()
        mixed[..., j] = x[:, torch.randperm(x.shape[1], generator=generator), j]
        flips.append((rule(mixed) != before).double().mean(1))
    return torch.stack(flips, 1)
