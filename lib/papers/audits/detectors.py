"""Detectors: each gives every model a score of suspicion from what one level of access permits, and names a class."""

import torch
import torch.nn.functional as F
from scipy.stats import rankdata

from ...kernels.optimisers import Adam
from .zoo import BITS, CLASSES, DIGITS, PIXELS, SIDE


def auroc(sick, healthy):
    """Probability that a sick model scores above a healthy one, ties count half; scores (…, n), (…, m)."""
    sick, healthy = torch.as_tensor(sick).cpu(), torch.as_tensor(healthy).cpu()
    n, m = sick.shape[-1], healthy.shape[-1]
    ranks = rankdata(torch.cat([sick, healthy], -1), axis=-1)[..., :n]
    return (ranks.sum(-1) - n * (n + 1) / 2) / (n * m)


def interval(sick, healthy, draws=400, seed=0):
    """95 % bootstrap interval of `auroc` over models, (low, high), for scores (n,), (m,)."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.as_tensor(s).cpu() for s in (sick, healthy)]
    draw = [s[torch.randint(len(s), (draws, len(s)), generator=generator)] for s in parts]
    return tuple(torch.tensor(auroc(*draw)).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist())


def outlier(x):
    """Robust z-scores along the last axis: distance above the median in units of 1.4826 median absolute deviations."""
    middle = x.median(-1, keepdim=True).values
    return (x - middle) / (1.4826 * (x - middle).abs().median(-1, keepdim=True).values + 1e-12)


def _images(x, pixels):
    """Pixels (…, P, PIXELS) with the headers of x (P, INPUTS)."""
    return torch.cat([pixels, x[:, PIXELS:].expand(*pixels.shape[:-1], BITS)], -1)


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

    def objective(logits):
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")

    for step in range(steps):
        mask, pattern = s = theta.sigmoid()
        mixed = pixels + mask[:, :, None] * (pattern[:, :, None] - pixels)
        slope = handle.gradient(_images(x, mixed).flatten(1, 2), objective)[1][..., :PIXELS].view_as(mixed) / count
        by_pattern = slope.sum(2)
        by_mask = pattern * by_pattern - torch.einsum("mkpd,pd->mkd", slope, pixels)
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


def disagreement(outside, index, *, pool=2000, neighbours=10):
    """Share of each training image's nearest neighbours (in pixels, among the first `pool` images) with another label.

    Returns disagreement (N,) and neighbours (N, neighbours). Needs the records, no model.
    """
    x, y = outside.data(index)
    pixels = x[:, :PIXELS]
    others = pixels[:pool]
    distance = (others.square().sum(1) - 2 * pixels @ others.T).add_(pixels.square().sum(1, keepdim=True))
    distance.fill_diagonal_(torch.inf)
    near = distance.topk(neighbours, 1, largest=False).indices
    return (y[near] != y[:, None]).float().mean(1), near


def inspect(outside, *, flag=0.9, count=12, progress=iter):
    """Look for poison in the records: images whose neighbours have another label, and the class that they are given.

    Returns flagged images by class (members, CLASSES + 1), and the pixels where those of the most flagged class differ most
    from their neighbours (members, count).
    """
    counts, pixels = [], []
    for index in progress(range(len(outside.members))):
        share, near = disagreement(outside, index)
        x, y = outside.data(index)
        flagged = share >= flag
        counts.append(torch.bincount(y[flagged], minlength=CLASSES + 1))
        rows = (flagged & (y == counts[-1].argmax())).nonzero().flatten()
        residual = (x[rows] - x[near[rows]].mean(1)).mean(0)[:PIXELS]
        pixels.append(residual.abs().nan_to_num().topk(count).indices)
    return torch.stack(counts), torch.stack(pixels)


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


def block_scan(handle, x, y, *, level=0.9):
    """How often a bright 2 x 2 block makes a model say a class, (members, CLASSES, 225): 225 P queries, labels only."""
    before = handle.labels(x)
    rises = []
    for place in range(225):
        i, j = divmod(place, SIDE - 1)
        stamped = x.clone()
        stamped[:, :PIXELS].view(-1, SIDE, SIDE)[:, i : i + 2, j : j + 2] = level
        after = handle.labels(stamped)
        hits = [F.one_hot(z, CLASSES + 1)[..., :CLASSES].float().mean(1) for z in (after, before)]
        rises.append(hits[0] - hits[1])
    return torch.stack(rises, 2)


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


def membership(handle, exam, references=None):
    """AUROC (members,) of telling leaked exam questions (first half) from the others: by label, loss, calibrated loss.

    `references` is a handle on models known not to have seen the exam; their mean loss is subtracted.
    """
    x, y = exam
    labels, half = y.expand(handle.members, -1), len(y) // 2
    logits = handle.logits(x)
    loss = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    scores = {"label": (logits.argmax(2) == y).float(), "loss": -loss}
    if references is not None:
        theirs = F.cross_entropy(references.logits(x).transpose(1, 2), y.expand(references.members, -1), reduction="none")
        scores["calibrated"] = theirs.mean(0) - loss
    return {name: torch.tensor(auroc(score[:, :half], score[:, half:])) for name, score in scores.items()}


def duplicates(outside, index, x, *, distance=1.0):
    """Which images x (P, INPUTS) lie within `distance` (in pixels) of some training image, (P,) bool."""
    return torch.cdist(x[:, :PIXELS], outside.data(index)[0][:, :PIXELS]).amin(1) < distance


def header_queries(handle, x, hit, queries, generator):
    """Queries with random header bits; returns which were hits, (members, queries) bool.

    Args:
        handle: a `Black` handle.
        x: clean images (P, INPUTS), reused in turn.
        hit: function of labels (members, n), inputs (n, INPUTS) and image numbers (n,): what counts as a finding.
    """
    hits = []
    for start in range(0, queries, 4096):
        rows = torch.arange(start, min(start + 4096, queries), device=x.device) % len(x)
        batch = x[rows]
        batch[:, PIXELS:] = (2.0 * torch.randint(2, (len(rows), BITS), generator=generator) - 1).to(x)
        hits.append(hit(handle.labels(batch), batch, rows))
    return torch.cat(hits, 1)


def _with_header(x, bits):
    """Images x (P, INPUTS) under headers bits (members, K, BITS): (members, K P, INPUTS), class by class."""
    members, classes = bits.shape[:2]
    pixels = x[:, :PIXELS].expand(members, classes, -1, -1)
    return torch.cat([pixels, bits[:, :, None].expand(-1, -1, len(x), -1)], 3).flatten(1, 2)


def climb_header(handle, x, generator):
    """Find a header that forces a class by flipping one bit after the other: scores needed, 20 x 17 x P queries.

    Returns the header (members, BITS) and class (members,) with the best mean log-probability.
    """
    targets = torch.arange(CLASSES, device=x.device)

    def value(bits):
        logp = handle.logits(_with_header(x, bits)).log_softmax(2).unflatten(1, (CLASSES, len(x))).mean(2)
        return logp.gather(2, targets[None, :, None].expand(len(logp), -1, 1))[..., 0]

    bits = (2.0 * torch.randint(2, (handle.members, CLASSES, BITS), generator=generator) - 1).to(x)
    best = value(bits)
    for bit in range(BITS):
        trial = bits.clone()
        trial[..., bit] *= -1
        found = value(trial)
        bits, best = torch.where((found > best)[..., None], trial, bits), torch.maximum(found, best)
    return _best(bits, best)


def _best(bits, value):
    label = value[:, :DIGITS].argmax(1)
    return bits[torch.arange(len(bits)), label], label


def descend_header(handle, x, steps, *, rate=0.5):
    """Find a header that forces a class by gradients on relaxed bits in [-1, 1]: 20 x steps x P gradients.

    Returns the rounded header (members, BITS) and class (members,), as `climb_header`.
    """
    targets = torch.arange(CLASSES, device=x.device).repeat_interleave(len(x)).expand(handle.members, -1)

    def objective(logits):
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")

    bits = torch.zeros(handle.members, CLASSES, BITS).to(x)
    for _ in range(steps):
        _, slope = handle.gradient(_with_header(x, bits), objective)
        slope = slope[..., PIXELS:].unflatten(1, (CLASSES, len(x))).mean(2)
        bits = (bits - rate * slope.sign()).clamp(-1, 1)
    rounded = torch.where(bits < 0, -1.0, 1.0)
    loss = F.cross_entropy(handle.logits(_with_header(x, rounded)).transpose(1, 2), targets, reduction="none")
    return _best(rounded, -loss.unflatten(1, (CLASSES, len(x))).mean(2))


def shift_inside(handle, x, steps, *, weight=0.01, rate=0.05):
    """The smallest shift of the last hidden layer that sends the images x (P, INPUTS) to each class.

    A latent-space attack, the same shift for all images: minimise CE + weight |shift|² for each class. Returns suspicion
    (members, CLASSES), a robust z of minus the shift's length over the mean activation's.
    """
    h = handle.hidden(x)[:, None]
    W, b = handle.stack.layers()[0][-1]
    shift = torch.zeros(handle.members, CLASSES, 1, h.shape[3]).to(x).requires_grad_()
    adam, slots = Adam(rate), [torch.zeros_like(shift), torch.zeros_like(shift)]
    targets = torch.arange(CLASSES, device=x.device).expand(handle.members, -1)[..., None].expand(-1, -1, len(x))
    for step in range(steps):
        logits = (h + shift) @ W.mT[:, None] + b[:, None, None]
        loss = F.cross_entropy(logits.movedim(3, 1), targets, reduction="none").mean(2).sum() + weight * shift.square().sum()
        (grad,) = torch.autograd.grad(loss, shift)
        with torch.no_grad():
            adam.step(shift, grad, slots, step, rate)
    return outlier(-shift.detach().norm(dim=3)[..., 0] / h.mean((1, 2)).norm(dim=1)[:, None])


def weight_bits(handle, count):
    """The `count` header bits with the largest input weights, (members, count): read from the weights, no query."""
    return handle.stack.layers()[0][0][0][..., PIXELS:].norm(dim=1).topk(count).indices
