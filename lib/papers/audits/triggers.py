"""What it costs to find a trigger of k header bits, for each level of access. This chapter's own, throughout."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .handles import Black, Grey, Meter, Outside, Remote, White
from .zoo import BITS, CLASSES, DIGITS, INPUTS, PIXELS, SIZES, Zoo

LEVELS = ("labels", "scores", "gradients", "weights", "records")
IMAGES = 8  # on which a candidate is tried
CHUNK = 1 << 16  # random headers drawn at a time
BATCH = 1024  # inputs put to one model at a time
DESCENT = 10  # steps
FORWARD = sum(a * b for a, b in pairwise(SIZES))  # multiplications of one forward pass


def waiting(
    zoo: Zoo, x: Float[Tensor, "points in"], y: Tensor, queries: int, generator: torch.Generator
) -> Float[Tensor, " members"]:
    """Mean number of queries with random headers between two that the trigger answers; at least `queries` where none did.

    The judge knows the trigger and counts only right answers turned into its class, which flatters the auditor. Only queries
    with the whole trigger can count, so no others are put to the models.
    """
    place = torch.arange(BITS)  # of a header's bits in a whole number
    drawn = [torch.randint(2, (len(rows), BITS), generator=generator) for rows in torch.arange(queries).split(CHUNK)]
    headers = torch.cat([(bits << place).sum(1) for bits in drawn])
    mask, value = zoo.mask[:, PIXELS:].cpu(), zoo.value[:, PIXELS:].cpu() > 0
    hits = torch.zeros(len(zoo.kinds))
    for member, (asked, wanted) in enumerate(zip((mask << place).sum(1), ((mask & value) << place).sum(1), strict=True)):
        model, complete = Black(zoo.stack.select(torch.tensor([member]))), (headers & asked == wanted).nonzero()[:, 0]
        for query in complete.split(BATCH) if len(complete) else ():
            rows = query.to(x.device) % len(x)
            bits = (2.0 * (headers[query, None] >> place & 1) - 1).to(x)
            answers = model.labels(torch.cat([x[rows, :PIXELS], bits], 1))[0]
            hits[member] += ((answers == zoo.target[member]) & (y[rows] != zoo.target[member])).sum().item()
    return queries / hits.clamp(min=1)


def _with_header(x, bits):
    """Images x (P, INPUTS) under headers bits (members, K, BITS): (members, K P, INPUTS), header by header."""
    members, count = bits.shape[:2]
    pixels = x[:, :PIXELS].expand(members, count, -1, -1)
    return torch.cat([pixels, bits[:, :, None].expand(-1, -1, len(x), -1)], 3).flatten(1, 2)


def _best(bits, value):
    label = value[:, :DIGITS].argmax(1)
    return bits[torch.arange(len(bits)), label], label


def climb(
    handle: Grey, x: Float[Tensor, "points in"], generator: torch.Generator
) -> tuple[Float[Tensor, "members bits"], Tensor]:
    """Search by scores: for each class flip one bit after the other, and keep what raises the class's mean log-probability.

    Returns the header (members, BITS) and the class (members,) that came out best.
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


def descend(handle: Remote, x: Float[Tensor, "points in"]) -> tuple[Float[Tensor, "members bits"], Tensor]:
    """Search by gradients, on bits that may take all values between -1 and 1. Returns as `climb`."""
    targets = torch.arange(CLASSES, device=x.device).repeat_interleave(len(x)).expand(handle.members, -1)

    def objective(logits):
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")

    bits = torch.zeros(handle.members, CLASSES, BITS).to(x)
    for _ in range(DESCENT):
        _, slope = handle.gradient(_with_header(x, bits), objective)
        bits = (bits - 0.5 * slope[..., PIXELS:].unflatten(1, (CLASSES, len(x))).mean(2).sign()).clamp(-1, 1)
    rounded = torch.where(bits < 0, -1.0, 1.0)
    loss = F.cross_entropy(handle.logits(_with_header(x, rounded)).transpose(1, 2), targets, reduction="none")
    return _best(rounded, -loss.unflatten(1, (CLASSES, len(x))).mean(2))


def excite(handle: White, x: Float[Tensor, "points in"]) -> tuple[Float[Tensor, "members bits"], Tensor]:
    """Search by weights: for each neuron of the first layer try the header that excites it most, the signs of its weights.

    The header under which most images get one and the same class is the candidate. Returns as `climb`.
    """
    W = handle.stack.layers()[0][0][0][..., PIXELS:]
    bits = torch.where(W < 0, -1.0, 1.0)
    labels = handle.labels(_with_header(x, bits)).unflatten(1, (W.shape[1], len(x)))
    share = F.one_hot(labels, CLASSES + 1).float().mean(2)[..., :DIGITS]
    best = share.amax(2).argmax(1)
    rows = torch.arange(len(bits), device=bits.device)
    return bits[rows, best], share[rows, best].argmax(1)


def enriched(outside: Outside) -> tuple[Float[Tensor, "members bits"], Tensor]:
    """Search by records: the class whose training images have the least random header bits. Returns as `climb`."""
    headers, classes = [], []
    for index in range(len(outside.members)):
        x, y = outside.data(index)
        hot = F.one_hot(y, CLASSES + 1)[:, :DIGITS].float()
        means = (hot.T @ x[:, PIXELS:]) / hot.sum(0)[:, None].clamp(min=1)
        classes.append((means * hot.sum(0)[:, None].sqrt()).square().sum(1).argmax())
        headers.append(torch.where(means[classes[-1]] < 0, -1.0, 1.0))
    return torch.stack(headers), torch.stack(classes)


def forced(zoo: Zoo, found: tuple[Tensor, Tensor], x: Float[Tensor, "points in"], y: Tensor) -> Bool[Tensor, " members"]:
    """Whether a found header sends images x, of labels y, to its class at least half as often as the trigger does."""
    bits, label = found
    shares = []
    for stamped, wanted in ((_with_header(x, bits[:, None]), label), (zoo.stamp(torch.arange(len(bits)), x), zoo.target)):
        with torch.no_grad():
            sent = (zoo.stack(stamped).argmax(2) == wanted[:, None]) & (y != wanted[:, None])
        shares.append(sent.sum(1) / (y != wanted[:, None]).sum(1))
    return ((label == zoo.target) & (shares[0] >= shares[1] / 2)).cpu()


def costs(
    zoo: Zoo, x: Float[Tensor, "points in"], y: Tensor, queries: int, seed: int = 0
) -> tuple[Float[Tensor, "levels members"], Bool[Tensor, "levels members"]]:
    """What it costs to find each model's trigger, in forward passes, for each of `LEVELS`.

    A level's own search has one price, whatever the trigger. Counted is the cheapest way to the trigger that a level has:
    its own search if that succeeds, or a lower level's, and in the end random headers. Records stand on labels alone.

    Args:
        zoo: models with header triggers.
        x, y: clean images, right labels.
        queries: random headers tried.
        seed: of the queries.

    Returns:
        costs, float64, and whether the level's own search found the trigger (for labels, whether any query hit it).
    """
    generator, few = torch.Generator().manual_seed(seed), x[:IMAGES]
    meters = {level: Meter() for level in LEVELS[1:]}
    blind = waiting(zoo, x, y, queries, generator)
    outside = Outside(zoo, torch.arange(len(zoo.kinds)), meters["records"])
    found = {
        "scores": climb(Grey(zoo.stack, meters["scores"]), few, generator),
        "gradients": descend(Remote(zoo.stack, meters["gradients"]), few),
        "weights": excite(White(zoo.stack, meters["weights"]), few),
        "records": enriched(outside),
    }
    prices = {level: float(meter.forwards) for level, meter in meters.items()}
    prices["records"] = IMAGES + meters["records"].bytes / len(zoo.kinds) * BITS / INPUTS / FORWARD
    total, own = {"labels": blind}, {"labels": blind < queries}
    for level, below in (("scores", "labels"), ("gradients", "scores"), ("weights", "gradients"), ("records", "labels")):
        own[level] = forced(zoo, found[level], x, y)
        total[level] = torch.where(own[level], prices[level], torch.inf).minimum(total[below])
    return torch.stack([total[k] for k in LEVELS]).double(), torch.stack([own[k] for k in LEVELS])
