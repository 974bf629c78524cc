"""What one does to a model or through an interface: repair and copy; and explanations that lie."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from ...kernels.mlp import parameter_count, random_stack
from ...kernels.optimisers import Adam
from ...kernels.problems import Differentiable
from ...kernels.training import train
from .handles import Remote
from .zoo import PIXELS, SIZES

GENTLE = 5e-4  # learning rate of repairs


def unlearn(handle, x, y, stamped, steps):
    """Fine-tune on images x (P, INPUTS) and on their stamped versions (members, P, INPUTS), both with the true labels y."""
    both = torch.cat([x.expand_as(stamped), stamped], 1)
    return handle.tuned(both, y.repeat(2), steps, GENTLE)


def blend(x, mask, pattern):
    """Images x (P, INPUTS) under soft triggers mask, pattern (members, PIXELS): (members, P, INPUTS)."""
    stamped = x.repeat(len(mask), 1, 1)
    stamped[..., :PIXELS] += mask[:, None] * (pattern[:, None] - stamped[..., :PIXELS])
    return stamped


class Noisy(Remote):
    """An interface that adds Gaussian noise to gradients, `noise` times their own standard deviation."""

    __slots__ = ("_generator", "noise")

    def __init__(self, stack, noise, seed=0):
        super().__init__(stack)
        self.noise, self._generator = noise, torch.Generator().manual_seed(seed)

    def gradient(self, x, objective):
        values, slope = super().gradient(x, objective)
        pixels = slope[..., :PIXELS]
        return values, slope + self.noise * pixels.std() * torch.randn(slope.shape, generator=self._generator).to(slope)


def extract(handle, x, kind, *, steps=300, rate=3e-3, seed=0):
    """Copy models through their interface: students of the same architecture learn from the answers on x (n, INPUTS).

    Args:
        handle: what the thief may use.
        x: his queries.
        kind: "label"; "logit"; or "gradient", which is the scores and the gradient of the highest one by the pixels.
        steps, rate: of Adam, full batch.
        seed: of the students.

    Returns:
        A stack of students, one a model.
    """
    students = random_stack([(handle.members, SIZES)], "relu", seed=seed, device=x.device)
    inputs = x.expand(handle.members, -1, -1)
    answers = handle.labels(x) if kind == "label" else handle.logits(x)
    if kind == "gradient":
        top = answers.argmax(2, keepdim=True)
        slopes = handle.gradient(inputs, lambda z: z.gather(2, top)[..., 0])[1][..., :PIXELS]

    def loss(parameters, members, step):
        stack = replace(students, theta=parameters["theta"].flatten())
        if kind == "label":
            return F.cross_entropy(stack(inputs).transpose(1, 2), answers, reduction="none").mean(1)
        with torch.enable_grad():
            own = inputs.clone().requires_grad_(kind == "gradient")
            logits = stack(own)
            total = (logits - answers).square().mean((1, 2)) / answers.var((1, 2))
            if kind == "gradient":
                (mine,) = torch.autograd.grad(logits.gather(2, top).sum(), own, create_graph=True)
                total = total + (mine[..., :PIXELS] - slopes).square().mean((1, 2)) / slopes.var((1, 2))
        return total

    theta = students.theta.view(handle.members, parameter_count(SIZES))
    run = train(Differentiable(loss, {"theta": theta}), Adam(rate), steps)
    return replace(students, theta=run.problem.theta)


def agreement(handle, students, x):
    """Share of inputs x (P, INPUTS) on which student and model give the same label, (members,)."""
    with torch.no_grad():
        return (students(x).argmax(2) == handle.labels(x)).float().mean(1)


# Explanations that lie -------------------------------------------------------------------------------------------------

FEATURES = 10


def records(members, count, generator):
    """Applicants: a protected feature, then nine others that hang together (three factors), (members, count, 10) float64."""
    factors = torch.randn(members, count, 3, generator=generator, dtype=torch.float64)
    loadings = torch.randn(members, 3, FEATURES - 1, generator=generator, dtype=torch.float64)
    others = factors @ loadings + 0.1 * torch.randn(members, count, FEATURES - 1, generator=generator, dtype=torch.float64)
    protected = torch.randn(members, count, 1, generator=generator, dtype=torch.float64)
    x = torch.cat([protected, others], 2)
    return x / x.std(1, keepdim=True)


def honest_rule(x):
    """The biased rule, openly: accept if the protected feature (the first) is positive. Shapes (…, 10) to (…)."""
    return x[..., 0] > 0


def scaffold(real):
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


def lime(rule, x, generator, *, samples=1000, ridge=1e-3):
    """Weights of local linear explanations (after LIME, Ribeiro et al. 2016) at x (members, E, 10): (members, E, 10).

    Perturbations with the features' standard deviation 1, weighted by exp(-d²/(0.75² 10)), and a ridge regression.
    """
    shift = torch.randn(*x.shape[:2], samples, FEATURES, generator=generator, dtype=x.dtype)
    answers = rule(x[:, :, None] + shift).to(x.dtype)
    weight = torch.exp(-shift.square().sum(3) / (0.75**2 * FEATURES))[..., None]
    design = torch.cat([torch.ones_like(answers)[..., None], shift], 3)
    gram = design.mT @ (weight * design) + ridge * torch.eye(FEATURES + 1, dtype=x.dtype)
    return torch.linalg.solve(gram, (design.mT @ (weight * answers[..., None])))[..., 1:, 0]


def permutation(rule, x, generator):
    """Share of decisions that flip when one feature is shuffled among real records x (members, N, 10): (members, 10)."""
    before, flips = rule(x), []
    for j in range(FEATURES):
        mixed = x.clone()
        mixed[..., j] = x[:, torch.randperm(x.shape[1], generator=generator), j]
        flips.append((rule(mixed) != before).double().mean(1))
    return torch.stack(flips, 1)
