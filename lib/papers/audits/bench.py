"""All tests of the blind audit, run on healthy models and on boxes. This chapter's own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from . import detectors
from .game import Test
from .handles import Black, Grey, Meter, Outside, Remote, White
from .triggers import FORWARD
from .zoo import CLASSES, DIGITS, PIXELS, Zoo, accuracy

SCAN, SEARCH, DESCENT = 50, 20, 10  # images of a scan, of a search for patches, of an inversion
LETTERS = 10  # that a model is taught
WEIGHT = 0.03  # of the mask's size in an inversion


@dataclass(frozen=True)
class Effort:
    """How hard the auditors work.

    Attributes:
        patches: random patches tried on a model.
        descent: steps of trigger inversion.
        tuning: updates of fine-tuning.
        progress: makes a wrapper for an iterable from a label.
    """

    patches: int
    descent: int
    tuning: int
    progress: Callable[[str], Callable[[Iterable], Iterable]] = lambda label: iter


@dataclass(frozen=True)
class Lead:
    """What a method says is behind the fault of each box.

    Attributes:
        label: the class that it names.
        share: of images that the pattern it has found sends to that class.
    """

    label: Int[Tensor, " boxes"]
    share: Float[Tensor, " boxes"]


@dataclass(frozen=True)
class Line:
    """Models that are sold for one task, audited.

    Attributes:
        tests: see `game.Test`.
        boxes: members of the zoo in the boxes, ascending.
        kinds: what is in the boxes.
        leads: by method: "search", "inversion", "records"; empty where there is none.
    """

    tests: list[Test]
    boxes: Int[Tensor, " boxes"]
    kinds: list[str]
    leads: dict[str, Lead]

    def where(self, *kinds: str) -> Bool[Tensor, " boxes"]:
        """Which boxes hold one of these kinds."""
        return torch.tensor([kind in kinds for kind in self.kinds])

    def some(self, count: int, generator: torch.Generator) -> list[int]:
        """Places of at most `count` boxes of each kind, in random order."""
        seen = [self.kinds[:i].count(kind) for i, kind in enumerate(self.kinds)]
        rows = [i for i, n in enumerate(seen) if n < count]
        return [rows[k] for k in torch.randperm(len(rows), generator=generator).tolist()]


def _tests(names, healthy, values):
    """`Test`s from (name, level, scores of all members, cost, grain) rows; `healthy` is a mask of the members."""
    rows = [(n, level, s.cpu().double(), cost, grain) for (n, level), (s, cost, grain) in zip(names, values, strict=True)]
    return [Test(n, level, s[healthy], s[~healthy], float(cost), grain) for n, level, s, cost, grain in rows]


def _sent(stack, pattern, label, x, y):
    """Share of images x (P, INPUTS) of other classes that a pattern (members, PIXELS), NaN where free, sends to `label`."""
    stamped = x.repeat(len(pattern), 1, 1)
    stamped[..., :PIXELS] = torch.where(pattern.isnan()[:, None], stamped[..., :PIXELS], pattern[:, None])
    other = y != label[:, None]
    return ((Black(stack).labels(stamped) == label[:, None]) & other).sum(1) / other.sum(1)


def readers(zoo: Zoo, boxes: Int[Tensor, " boxes"], x: Float[Tensor, "points in"], y: Tensor, effort: Effort) -> Line:
    """Audit models that are sold to read digits and letters: backdoors, shortcuts and healthy ones.

    Args:
        zoo: the models.
        boxes: members in question, ascending; the other clean ones are the healthy models of comparison.
        x, y: fresh images and labels, at least 200 for the full tests.
        effort: see `Effort`.
    """
    known = torch.tensor([m for m in zoo.of("clean").tolist() if m not in boxes.tolist()])
    members = torch.cat([known, boxes]).sort().values
    healthy = torch.isin(members, known)
    stack, costs = zoo.stack.select(members), [Meter() for _ in range(5)]
    generator = torch.Generator().manual_seed(len(members))
    searched = detectors.patch_search(
        Black(stack, costs[0]), x[:SEARCH], y[:SEARCH], effort.patches, generator
    )[-1]  # fmt: skip
    scan = detectors.block_scan(Black(stack, costs[1]), x[:SCAN]).flatten(1).amax(1)
    scores = detectors.score_scan(Grey(stack, costs[2]), x[:SCAN]).flatten(1).amax(1)
    parts = [  # a few at a time, which is what fits a cache
        detectors.invert(Remote(stack.select(part), costs[3]), x[:DESCENT], effort.descent, WEIGHT)
        for part in effort.progress("inversion")(torch.arange(len(members)).split(24))
    ]
    mask, pattern, small = (torch.cat(each, d) for each, d in zip(zip(*parts, strict=True), (0, 0, 1), strict=True))
    pulls = detectors.saliency_scan(White(stack, costs[4]), x[:200]).flatten(1).amax(1)
    records = Outside(zoo, members)
    flagged, common = detectors.inspect(records, progress=effort.progress("records"))
    contrast = detectors.contrast(records).flatten(1).amax(1)
    images = float(zoo.counts[members].double().mean())
    paid = [meter.forwards for meter in costs]
    paid[3] /= len(parts)
    tests = _tests(
        [
            ("random patches", "black"), ("bright blocks", "black"), ("blocks by score", "grey"),
            ("trigger inversion", "white"), ("gradients of blocks", "white"), ("labels of neighbours", "outside"),
            ("mean images", "outside"),
        ],
        healthy,
        [
            (searched.amax(1), paid[0], 1 / SEARCH), (scan, paid[1], 1 / SCAN), (scores, paid[2], 0.1),
            (small[-1].amax(1), paid[3], 0.1), (pulls, paid[4], 0.1),
            (flagged.amax(1).float(), images * min(images, detectors.POOL) * PIXELS / FORWARD, 1.0),
            (contrast, images * PIXELS / FORWARD, 0.01),
        ],
    )  # fmt: skip
    rows = torch.arange(len(members))
    best = small[-1].argmax(1)
    soft = torch.where(mask[rows, best] > 0.5, pattern[rows, best].round(), torch.nan)
    suspect = flagged.argmax(1)
    leads = {
        "search": (searched.argmax(1), searched.amax(1)),
        "inversion": (best, _sent(stack, soft, best, x, y)),
        "records": (suspect, _sent(stack, common.round(), suspect, x, y)),
    }
    named = {k: Lead(label[~healthy].cpu(), share[~healthy].cpu()) for k, (label, share) in leads.items()}
    return Line(tests, boxes, [zoo.kinds[i] for i in boxes], named)


def refusers(zoo: Zoo, boxes: Int[Tensor, " boxes"], x: Float[Tensor, "points in"], y: Tensor, effort: Effort) -> Line:
    """Audit models that are sold as reading digits and no letters: locked ones, and some that never learned letters.

    Args:
        zoo, effort: as for `readers`.
        boxes: members in question, ascending; the other controls are the healthy models of comparison.
        x, y: fresh letters with random headers, and their labels; the first `LETTERS` of each half are for teaching.
    """
    known = torch.tensor([m for m in zoo.of("control").tolist() if m not in boxes.tolist()])
    members = torch.cat([known, boxes]).sort().values
    healthy = torch.isin(members, known)
    stack, costs = zoo.stack.select(members), [Meter() for _ in range(3)]
    lesson, exam = slice(0, LETTERS), slice(LETTERS, None)
    read = (Black(stack, costs[0]).labels(x[exam]) == y[exam]).float().mean(1)
    leak = detectors.letter_leak(Grey(stack, costs[1]), x[exam], y[exam])
    pupil = White(stack, costs[2]).tuned(x[lesson], y[lesson], effort.tuning)
    taught = accuracy(pupil.stack, x[exam], y[exam])
    named = [((zoo.y[m, : zoo.counts[m]] >= DIGITS) & (zoo.y[m, : zoo.counts[m]] < CLASSES)).float().mean() for m in members]
    grain = 1 / len(y[exam])
    tests = _tests(
        [
            ("letters read", "black"), ("letter scores", "grey"), ("lessons in letters", "white"),
            ("letters in records", "outside"),
        ],
        healthy,
        [
            (read, costs[0].forwards, grain), (leak, costs[1].forwards, grain),
            (taught, costs[2].forwards + len(y[exam]), grain),
            (torch.stack(named), float(zoo.counts[members].max()) / FORWARD, 0.01),
        ],
    )  # fmt: skip
    return Line(tests, boxes, [zoo.kinds[i] for i in boxes], {})
