"""Detectors: each gives every model a score of suspicion from what one level of access permits, and names a class."""

import torch
import torch.nn.functional as F

from ...kernels.optimisers import Adam
from .zoo import CLASSES, DIGITS, PIXELS, SIDE

POOL = 3000  # training images among which neighbours are looked for


def outlier(x):
    """Robust z-scores along the last axis: distance above the median in units of 1.4826 median absolute deviations."""
    middle = x.median(-1, keepdim=True).values
    return (x - middle) / (1.4826 * (x - middle).abs().median(-1, keepdim=True).values + 1e-12)


def invert(handle, x, steps, weight, *, at=(), rate=0.1):
    """The smallest trigger for each target class, by gradients (after Neural Cleanse, Wang et al. 2019).

    For all models and classes t at once, minimise CE(f((1 - s(a)) x + s(a) s(p)), t) + weight sum s(a) over mask a and
    pattern p, s the logistic function. A backdoored class needs an unusually small mask.

    Args:
        handle: a `Remote` handle.
        x: clean images (P, INPUTS).
        steps, weight, rate: of the descent (Adam).
        at: numbers of steps at which to look; the last is always among them.

    Returns:
        mask and pattern (members, CLASSES, PIXELS), and suspicion (looks, members, CLASSES), a robust z of
        minus the mask's size.
    """
    members, count = handle.members, len(x)
    theta = torch.zeros(2, members, CLASSES, PIXELS).to(x)
    theta[0] = -2
    adam, slots = Adam(rate), [torch.zeros_like(theta), torch.zeros_like(theta)]
    targets = torch.arange(CLASSES, device=x.device).repeat_interleave(count).expand(members, -1)
    pixels, looks = x[:, :PIXELS], []
    mixed = x.repeat(members, CLASSES, 1, 1)

    def objective(logits):
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")

    for step in range(steps):
        mask, pattern = s = theta.sigmoid()
        mixed[..., :PIXELS] = torch.lerp(pixels, pattern[:, :, None], mask[:, :, None])
        slope = handle.gradient(mixed.flatten(1, 2), objective)[1].view_as(mixed)[..., :PIXELS]
        by_pattern = slope.mean(2)
        by_mask = pattern * by_pattern - (slope * pixels).mean(2)
        grad = torch.stack([by_mask + weight, mask * by_pattern]) * s * (1 - s)
        adam.step(theta, grad, slots, step, rate)
        if step + 1 in {*at, steps}:
            looks.append(outlier(-theta[0].sigmoid().sum(2)))
    return *theta.sigmoid(), torch.stack(looks)


def patch_search(handle, x, y, patches, generator, *, at=()):
    """Random 3 x 3 binary patches on the images x (P, INPUTS), labels y (P,): black-box, if one knows what to look for.

    Returns the largest share of images that one patch has sent to one wrong class, after each number of patches in `at`
    and at the end, by class, (looks, members, CLASSES); a patch costs P queries. Patches go out in fifties.
    """
    best, looks, done = torch.zeros(handle.members, CLASSES, device=x.device), [], 0
    for stop in sorted({*at, patches}):
        for rows in torch.arange(done, stop).split(50):
            stamped = x.repeat(len(rows), 1, 1)
            image = stamped[..., :PIXELS].unflatten(2, (SIDE, SIDE))
            for k, (i, j) in enumerate(torch.randint(SIDE - 2, (len(rows), 2), generator=generator).tolist()):
                image[k, :, i : i + 3, j : j + 3] = torch.randint(2, (3, 3), generator=generator).float()
            labels = handle.labels(stamped.flatten(0, 1)).unflatten(1, (len(rows), -1))
            wrong = F.one_hot(torch.where(labels == y, CLASSES, labels), CLASSES + 1)[..., :CLASSES].float().mean(2)
            best = torch.maximum(best, wrong.amax(1))
        looks.append(best)
        done = stop
    return torch.stack(looks)


def disagreement(outside, index, *, pool=POOL, neighbours=10):
    """Share of each training image's nearest neighbours (in pixels, among the first `pool` images) with another label.

    Returns disagreement (N,) and neighbours (N, neighbours). Needs the records, no model.
    """
    x, y = outside.data(index)
    pixels = x[:, :PIXELS]
    others = pixels[:pool]
    apart = torch.addmm(others.square().sum(1), pixels, others.T, alpha=-2)  # squared distances, less a constant of the row
    near = apart.fill_diagonal_(torch.inf).topk(neighbours, 1, largest=False).indices
    return (y[near] != y[:, None]).float().mean(1), near


def inspect(outside, *, flag=0.9, count=12, progress=iter):
    """Look for poison in the records: images whose neighbours have another label, and what they have in common.

    Returns the numbers of flagged images by class (members, CLASSES + 1), and the `count` pixels where those of the most
    flagged class differ most from their neighbours, with their mean values there, NaN elsewhere: (members, PIXELS).
    """
    counts, patterns = [], []
    for index in progress(range(len(outside.members))):
        share, near = disagreement(outside, index)
        x, y = outside.data(index)
        flagged = share >= flag
        counts.append(torch.bincount(y[flagged], minlength=CLASSES + 1))
        rows = (flagged & (y == counts[-1].argmax())).nonzero().flatten()
        common = x[rows].mean(0)[:PIXELS]
        residual = (common - x[near[rows]].mean((0, 1))[:PIXELS]).abs().nan_to_num()
        patterns.append(common.where(residual >= residual.topk(count).values[-1], torch.nan))
    return torch.stack(counts), torch.stack(patterns)


def _blocks(images):
    """Means over all 2 x 2 blocks, (…, 225), of (…, PIXELS)."""
    return F.avg_pool2d(images.reshape(-1, 1, SIDE, SIDE), 2, 1).flatten(1).unflatten(0, images.shape[:-1])


def saliency_scan(handle, x):
    """How strongly a 2 x 2 block pulls towards a class, (members, CLASSES, 225), by mean gradients on x (P, INPUTS)."""
    pulls = []
    for c in range(CLASSES):
        _, slope = handle.gradient(x.expand(handle.members, -1, -1), lambda z, c=c: z[..., c] - z[..., :CLASSES].mean(2))
        pulls.append(_blocks(slope[..., :PIXELS].mean(1)))
    pulls = torch.stack(pulls, 1)
    return pulls / pulls.flatten(1).std(1)[:, None, None]


def _with_blocks(x, level=0.9):
    """The images x (P, INPUTS) with a bright 2 x 2 block at each of the 225 places in turn."""
    for place in range(225):
        i, j = divmod(place, SIDE - 1)
        stamped = x.clone()
        stamped[:, :PIXELS].view(-1, SIDE, SIDE)[:, i : i + 2, j : j + 2] = level
        yield stamped


def block_scan(handle, x):
    """How often a bright 2 x 2 block makes a model say a class, (members, CLASSES, 225): 226 P queries, labels only."""

    def said(images):
        return F.one_hot(handle.labels(images), CLASSES + 1)[..., :CLASSES].float().mean(1)

    before = said(x)
    return torch.stack([said(stamped) - before for stamped in _with_blocks(x)], 2)


def score_scan(handle, x):
    """How strongly a bright 2 x 2 block pulls towards a class, (members, CLASSES, 225), by scores: 226 P queries."""

    def pull(images):
        z = handle.logits(images)[..., :CLASSES].mean(1)
        return z - z.mean(1, keepdim=True)

    before = pull(x)
    pulls = torch.stack([pull(stamped) - before for stamped in _with_blocks(x)], 2)
    return pulls / pulls.flatten(1).std(1)[:, None, None]


def contrast(outside):
    """Brightest 2 x 2 block of each class's mean image above that of all, (members, CLASSES, 225). Needs records."""
    results = []
    for index in range(len(outside.members)):
        x, y = outside.data(index)
        hot = F.one_hot(y, CLASSES + 1)[:, :CLASSES].float()
        means = _blocks((hot.T @ x[:, :PIXELS]) / hot.sum(0)[:, None].clamp(min=1))
        results.append(means - means.mean(0))
    return torch.stack(results)


def letter_leak(handle, x, y):
    """Accuracy (members,) on letters if "I cannot read this" and digits are ignored and the best letter score is taken."""
    return (handle.logits(x)[..., DIGITS:CLASSES].argmax(2) + DIGITS == y).float().mean(1)
