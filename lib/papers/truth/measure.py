"""What the chapter measures in language models, toys and large ones alike: patching, geometry, transfer, interventions."""

from dataclasses import dataclass
from random import Random

import torch

from ...checks import check
from . import probes, world

TRAININGS = {
    "cities": ("cities",),
    "negations": ("neg_cities",),
    "cities + negations": ("cities", "neg_cities"),
    "words": ("words",),
    "larger": ("larger",),
    "larger + smaller": ("larger", "smaller"),
}
FITS = {"mass-mean": probes.mass_mean, "logistic": probes.logistic, "Fisher": probes.fisher}
FAINT = 0.2  # a model whose answers differ by less after true and false contexts has no effect to mediate


# ---- patching ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patch:
    """What overwriting one state of the false run by the true run's does.

    Attributes:
        effect: (blocks, tokens), 0 for nothing, 1 for the true run's answer; NaN if the runs hardly differ.
        tokens: labels of the tokens, from the first that differs to the last.
        word: index among them of the token that ends the statement's last word.
        gap: P(correct) after true minus after false statements.
    """

    effect: torch.Tensor
    tokens: list
    word: int
    gap: float


def patch(language, kind, count=60, seed=0):
    """Overwrite each single state in turn, over pairs of contexts that differ in the city alone: a `Patch`.

    The prompt is a context statement and a question about another city; the answer read is P(correct country).
    """
    pairs = world.swaps(kind, count, seed)
    runs = [language.pose(world.ask([pair[side] for pair in pairs], seed)) for side in (0, 1)]
    lengths = torch.stack([run.last for run in runs], 1)
    common = int(lengths[lengths[:, 0] == lengths[:, 1], 0].mode().values)  # the usual length, the same on both sides
    true, false = (run[(lengths == common).all(1)] for run in runs)
    first = int((true.ids[:, : common + 1] != false.ids[:, : common + 1]).any(0).nonzero()[0])
    at = torch.arange(first, common + 1, device=language.device)
    rows = torch.arange(len(true.ids), device=language.device)

    chances, states = language.run(true, at=at.expand(len(rows), -1))
    before, _ = language.run(false)
    up, down = (c[rows, true.answer].mean() for c in (chances, before))
    copies = false[rows.repeat(len(at))]
    effect = torch.empty(language.depth, len(at))
    for block in range(language.depth):
        vectors = states[block].transpose(0, 1).flatten(0, 1)
        after, _ = language.run(copies, edit={block: vectors}, place=at.repeat_interleave(len(rows)), replaced=True)
        found = after.gather(1, copies.answer[:, None]).view(len(at), len(rows)).mean(1)
        effect[block] = ((found - down) / (up - down)).cpu()
    gap = float(up - down)
    labels = [language.tokenizer.decode([int(i)]).strip() for i in false.ids[0, first : common + 1]]
    return Patch(effect if abs(gap) >= FAINT else effect * torch.nan, labels, int(true.word[0]) - first, gap)


def causal_blocks(patches):
    """Blocks to edit, ascending, from patching: where the last word's state moves the answer at least half as much as at its
    best, and the block after. By that one the rest of the model has read it: it is where to look at geometry.

    Falls back to the middle of the model where no patch shows an effect.
    """
    effect = torch.stack([p.effect[:, p.word] for p in patches]).nanmean(0)
    depth = len(effect)
    if bool(effect.isnan().all()) or effect.max() < FAINT:
        return [depth // 2]
    strong = (effect >= effect.max() / 2).nonzero().flatten().tolist()
    return list(range(strong[0], min(strong[-1] + 1, depth - 1) + 1))


# ---- geometry ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """States at the last word of statements of every type, centred for each model, block and type.

    Attributes:
        fit, test: (models, blocks, types, rows, width), for fitting probes and for testing them.
        labels: (types, rows) bool, the same for both.
        kinds: names of the types.
    """

    fit: torch.Tensor
    test: torch.Tensor
    labels: torch.Tensor
    kinds: tuple = world.TYPES

    def rows(self, kinds, states=None):
        """States (models × blocks, rows, width) and labels (rows,) of some types together."""
        use = [self.kinds.index(kind) for kind in kinds]
        states = self.fit if states is None else states
        return states[:, :, use].flatten(2, 3).flatten(0, 1), self.labels[use].flatten()


def survey(languages, count=200, seed=0, split="facts", kinds=world.TYPES):
    """A `Survey` of models of equal depth and width.

    Args:
        languages: `Language`s.
        count: statements of each type for fitting, and as many for testing; even.
        seed: of their choice.
        split: "facts": test statements are about other cities, words and pairs of numbers than those fitted on;
            "rows": drawn anew, but from the same facts.
        kinds: types of statements.
    """
    check("count", count, int, low=4)
    check("split", split, {"facts", "rows"})
    parts = ((0, seed), (1, seed)) if split == "facts" else ((None, seed), (None, seed + 1))
    rows = [[s for kind in kinds for s in world.statements(kind, count, at, part)] for part, at in parts]
    states = [torch.stack([m.states(r) for m in languages]).unflatten(2, (len(kinds), count)).cpu() for r in rows]
    labels = torch.tensor([s.true for s in rows[0]]).view(len(kinds), count)
    for side in rows:  # by construction: alternating, so that both parts share the labels
        own = torch.tensor([s.true for s in side]).view(len(kinds), count)
        if not torch.equal(own, labels):
            raise ValueError("labels = differing between parts: expected the same order of true and false statements")
    return Survey(*(s - s.mean(3, keepdim=True) for s in states), labels, tuple(kinds))


def direction(survey, training, probe):
    """Directions (models, blocks, width) of a probe ("mass-mean", "logistic", "Fisher" or "CCS") on one of `TRAININGS`."""
    kinds = TRAININGS[training]
    if probe == "CCS":
        if len(kinds) != 2:
            raise ValueError(f"training = {training!r}: expected statements with their opposites for CCS")
        (X, y), (opposite, _) = (survey.rows([kind]) for kind in kinds)
        found = probes.ccs(X, opposite, y)
    else:
        found = FITS[probe](*survey.rows(kinds))
    return found.unflatten(0, survey.fit.shape[:2])


def accuracies(survey, directions):
    """Accuracy on the test statements of every type, (models, blocks, types), of directions (models, blocks, width)."""
    signs = torch.where(survey.labels, 1.0, -1.0)
    return (torch.einsum("mbkrd,mbd->mbkr", survey.test, directions) * signs > 0).float().mean(-1)


def cosine(a, b):
    """Cosines of directions (…, width)."""
    return torch.nn.functional.cosine_similarity(a, b, -1)


def principal(X, count=2):
    """Coordinates (…, rows, count) of centred states (…, rows, width) along their first principal components."""
    return X @ torch.linalg.svd(X, full_matrices=False).Vh[..., :count, :].transpose(-1, -2)


def along_first(X, y):
    """Accuracy of the sign of the first principal component, the better of its two senses; X (…, rows, width), y (rows,)."""
    right = ((principal(X, 1)[..., 0] > 0) == y).float().mean(-1)
    return torch.maximum(right, 1 - right)


def truth_and_polarity(survey, kinds=("cities", "neg_cities")):
    """General truth direction and polarity-sensitive one, each (models, blocks, width): Bürger et al. (arXiv:2407.12831).

    Least squares of x = μ + τ t_G + τ p t_P over statements with truth τ = ±1 and polarity p = ±1 (affirmative, negated), on
    states centred for each type.
    """
    X, y = survey.rows(kinds)
    tau = torch.where(y, 1.0, -1.0)
    p = torch.tensor([1.0, -1.0]).repeat_interleave(len(y) // 2)
    found = torch.linalg.lstsq(torch.stack([tau, tau * p], 1).expand(len(X), -1, -1), X).solution
    return tuple(t.unflatten(0, survey.fit.shape[:2]) for t in found.unbind(1))


def likely(language, count=200, rank=21, seed=0):
    """States (blocks, count, width), centred, of texts cut at random and continued, and which way, (count,) bool.

    Half of them (labelled true) go on with the model's most likely token, half with its `rank`-th: text probability
    without truth.
    """
    rng = Random(f"likely {seed}")
    rows = [s for kind in world.SIMPLE for s in world.statements(kind, count - count // 6 * 5 + count % 2, seed)]
    questions = world.ask(rng.sample(rows, count), seed)
    whole = language.pose(questions)
    cut = torch.tensor([rng.randrange(1, int(last) + 1) for last in whole.last], device=language.device)
    tokens = type(whole)(whole.ids, cut, cut, whole.answer)
    ranked = language.run(tokens)[0].topk(rank).indices
    rows, label = torch.arange(count, device=language.device), torch.arange(count, device=language.device) % 2 == 0
    ids = torch.cat([whole.ids, whole.ids[:, -1:]], 1)
    ids[rows, cut + 1] = torch.where(label, ranked[:, 0], ranked[:, -1])
    tokens = type(whole)(ids, cut + 1, cut + 1, whole.answer)
    states = language.run(tokens, at=(cut + 1)[:, None])[1][:, :, 0].cpu()
    return states - states.mean(1, keepdim=True), label.cpu()


# ---- interventions -----------------------------------------------------------------------------------------------------


def published(directions, means):
    """The paper's step along a probe: the difference of the class means, projected on the probe's direction."""
    unit = torch.nn.functional.normalize(directions, dim=-1)
    return (means * unit).sum(-1, keepdim=True) * unit


def equal(directions, means):
    """A step along a probe of the length of the difference of the class means."""
    return torch.nn.functional.normalize(directions, dim=-1) * means.norm(dim=-1, keepdim=True)


def randoms(means, count, seed=0):
    """`count` random steps (count, …, width) as long as `means` (…, width)."""
    noise = torch.randn(count, *means.shape, generator=torch.Generator().manual_seed(seed))
    return equal(noise, means)


@dataclass(frozen=True)
class Steering:
    """P(correct) of questions after false and after true contexts, left alone and steered.

    Attributes:
        before: (2,), after false and after true contexts.
        after: (steps, 2), false contexts pushed along the step, true ones against it.
    """

    before: torch.Tensor
    after: torch.Tensor

    @property
    def nie(self):
        """Normalised indirect effects false → true and true → false, (steps, 2); NaN if there is no effect to mediate."""
        gap = self.before[1] - self.before[0]
        change = (self.after - self.before) / torch.stack([gap, -gap])
        return change if float(gap) >= FAINT else change * torch.nan


def steer(language, kind, steps, blocks, count=80, seed=1):
    """Add steps to the residual stream at the context's last word, after each of `blocks`: a `Steering`.

    Args:
        language: a `Language`.
        kind: type of the context statements.
        steps: (steps, blocks of the model, width): for each block the vector fitted there.
        blocks: which of them are used.
        count: contexts of each truth value.
        seed: of their choice.
    """
    contexts = world.statements(kind, 2 * count, seed)
    steps, before, after = steps.to(language.device), [], []
    for truth, sign in ((False, 1), (True, -1)):
        tokens = language.pose(world.ask([c for c in contexts if c.true == truth], seed))
        rows = torch.arange(count, device=language.device)
        before.append(language.run(tokens)[0][rows, tokens.answer].mean())
        copies = tokens[rows.repeat(len(steps))]
        edit = {block: sign * steps[:, block].repeat_interleave(count, 0) for block in blocks}
        chances, _ = language.run(copies, edit=edit, place=copies.word)
        after.append(chances.gather(1, copies.answer[:, None]).view(len(steps), count).mean(1))
    return Steering(torch.stack(before).cpu(), torch.stack(after, 1).cpu())


def next_words(language, prompt, steps, blocks):
    """P(country) for each of the world's countries as a `Question`'s next word, after each step, (steps, countries)."""
    options = [world.Question(prompt.context, prompt.prompt, country) for country in world.COUNTRIES]
    tokens = language.pose(options)
    copies = tokens[torch.zeros(len(steps), dtype=torch.long, device=language.device)]
    chances, _ = language.run(copies, edit={b: steps[:, b].to(language.device) for b in blocks}, place=copies.word)
    return chances[:, tokens.answer].cpu()
