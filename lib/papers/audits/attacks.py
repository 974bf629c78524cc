"""Adversarial attacks within a ball: how many wrong answers an auditor finds, against what it cost.

All attacks move the pixels alone, each by at most `eps`, inside [0, 1]; success is a wrong label. They return `found`
(checks, members, P), whether a wrong answer was known by each check, and the metered forwards at each check, (checks,).
"""

import torch
import torch.nn.functional as F

from .zoo import BITS, PIXELS


def margin(logits, y):
    """Score of the right class y (P,) minus the best other, (members, P): negative is a wrong answer."""
    right = F.one_hot(y, logits.shape[2]).bool().expand_as(logits)
    return logits[right].view(logits.shape[:2]) - logits.masked_fill(right, -torch.inf).amax(2)


def _ball(x0, delta, eps):
    """x0 moved by delta (…, PIXELS), kept in the ball and in [0, 1]."""
    pixels = x0[..., :PIXELS]
    pixels = (pixels + delta.clamp(-eps, eps)).clamp(0, 1)
    return torch.cat([pixels, x0[..., PIXELS:].expand(*pixels.shape[:-1], BITS)], -1)


def _signs(members, count, generator, like):
    return (2.0 * torch.randint(2, (members, count, PIXELS), generator=generator) - 1).to(like)


def pgd(handle, x, y, eps, steps, generator, *, loss="margin"):
    """Projected gradient ascent (Madry et al. 2018) on the margin or the cross-entropy. Needs gradients."""

    def objective(logits):
        if loss == "margin":
            return -margin(logits, y)
        labels = y.expand(logits.shape[:2])
        return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")

    start, found, costs = handle.meter.forwards, [], []
    delta = eps * (2 * torch.rand(handle.members, len(x), PIXELS, generator=generator).to(x) - 1)
    step = max(eps / 4, 2.5 * eps / steps)
    for _ in range(steps):
        _, slope = handle.gradient(_ball(x, delta, eps), objective)
        delta = (delta + step * slope[..., :PIXELS].sign()).clamp(-eps, eps)
        found.append(handle.labels(_ball(x, delta, eps)) != y)
        costs.append((handle.meter.forwards - start) / len(x))
    return torch.stack(found).cummax(0).values, torch.tensor(costs)


def square(handle, x, y, eps, queries, generator):
    """Square attack (Andriushchenko et al. 2020): repaint a random square, keep it if the margin falls. Needs scores."""
    members, count = handle.members, len(x)
    stripes = _signs(members, count, generator, x)[..., :16].repeat(1, 1, 16)
    delta = eps * stripes
    best = margin(handle.logits(_ball(x, delta, eps)), y)
    found, grid = [best < 0], torch.arange(16, device=x.device)
    for query in range(1, queries):
        halvings = sum(query * 10000 / queries > at for at in (10, 50, 200, 500, 1000, 2000, 4000, 6000))
        side = max(1, round((0.3 / 2**halvings * PIXELS) ** 0.5))
        corner = torch.randint(17 - side, (2, members, count, 1), generator=generator).to(x.device)
        inside = [(grid >= c) & (grid < c + side) for c in corner]
        square = (inside[0][..., :, None] & inside[1][..., None, :]).flatten(2)
        paint = eps * (2.0 * torch.randint(2, (members, count, 1), generator=generator) - 1).to(x)
        trial = torch.where(square, paint, delta)
        value = margin(handle.logits(_ball(x, trial, eps)), y)
        better = value < best
        delta, best = torch.where(better[..., None], trial, delta), torch.where(better, value, best)
        found.append(best < 0)
    return torch.stack(found), torch.arange(1.0, queries + 1)


def label_only(handle, x, y, eps, queries, *, shrink=0.95):
    """Block sign flips with a shrinking radius, in the spirit of RayS (Chen and Gu 2020). Needs labels.

    A direction is a vector of signs. Every query flips the signs of one block, the blocks ever finer, and tries the new
    direction at `shrink` times the radius; a wrong answer is kept, with its radius.
    """
    sign, radius = torch.ones(handle.members, len(x), PIXELS).to(x), torch.ones(handle.members, len(x), 1).to(x)
    radius[handle.labels(x) != y] = 0
    blocks = [b for level in range(9) for b in torch.arange(PIXELS).chunk(2**level)]
    found = [radius[..., 0] <= eps]
    for query in range(1, queries):
        trial = sign.clone()
        trial[..., blocks[query % len(blocks)]] *= -1
        wrong = (handle.labels(_ball(x, shrink * radius * trial, 1.0)) != y)[..., None]
        sign, radius = torch.where(wrong, trial, sign), torch.where(wrong, shrink * radius, radius)
        found.append(radius[..., 0] <= eps)
    return torch.stack(found), torch.arange(1.0, queries + 1)


def known(run, price):
    """Share of wrong answers known for a `price` in forward passes an image, (members,), of an attack's `run`."""
    found, costs = run
    paid = int((costs <= price).sum())
    return (found[paid - 1].float().mean(1) if paid else torch.zeros(found.shape[1])).cpu()


def scaled(stack, factor):
    """The same models with all scores multiplied by `factor`: no answer changes, but probabilities become 0 or 1."""
    copy = stack.select(torch.arange(stack.members))
    for tensor in copy.layers()[0][-1]:
        tensor.mul_(factor)
    return copy
