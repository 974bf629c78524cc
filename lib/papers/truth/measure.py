"""What the chapter measures in language models, toys and large ones alike: patching, geometry, transfer, interventions."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import probes
from .language import Edit

TRAININGS = {
    "cities": ("cities",),
    "negations": ("neg_cities",),
    "cities + negations": ("cities", "neg_cities"),
    "larger": ("larger",),
    "larger + smaller": ("larger", "smaller"),
}
FAMILIES = {"cities": (0, 1), "translations": (2, 3), "numbers": (4, 5), "conj": (6,), "disj": (7,)}  # types by subject
FITTED = {"cities": "cities", "cities + negations": "cities", "larger": "numbers", "larger + smaller": "numbers"}
FITS = {"mass-mean": probes.mass_mean, "logistic": probes.logistic, "Fisher": probes.fisher}


def readings(chances: Float[Tensor, "texts answers"]) -> Float[Tensor, " texts"]:
    """What a model says, from log-probabilities: P(right), or log P(yes) − log P(no) where the two were asked for."""
    return chances[:, 0].exp() if chances.shape[1] == 1 else chances[:, 0] - chances[:, 1]


# ---- patching ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patch:
    """What overwriting one state of a false run by the true run's does.

    Attributes:
        moved: change of the reading of each pair, by block and token.
        gap: reading of the true run minus that of the false one.
        tokens: labels of the tokens, from the first that differs to the last.
        word, stop: indices among them of the tokens that end the statement's last word and the statement.
    """

    moved: Float[Tensor, "pairs blocks tokens"]
    gap: Float[Tensor, " pairs"]
    tokens: list[str]
    word: int
    stop: int

    @property
    def effect(self) -> Float[Tensor, "blocks tokens"]:
        """Share of the gap that one state carries: 0 for nothing, 1 for the true run's answer."""
        return self.moved.mean(0) / self.gap.mean()


def patch(language, true: Sequence, false: Sequence, count: int, every: int = 1) -> Patch:
    """Overwrite each single state in turn, over pairs of prompts that differ in one name alone.

    Of the pairs, the first `count` are used that have the most usual number of tokens, the same on both sides; they are
    alike in all but the statements' names, so a column of the map is one place in all of them.

    Args:
        language: a `Language`.
        true, false: `Question`s, pair by pair.
        count: pairs, at most.
        every: patch after every block, or every second and so on; the effect is held over the blocks between.
    """
    runs = [language.pose(questions) for questions in (true, false)]
    shapes = [tuple(row) for row in torch.cat([torch.stack([r.last, r.word, r.stop], 1) for r in runs], 1).tolist()]
    same = [shape for shape in shapes if shape[:3] == shape[3:]]
    usual = max(dict.fromkeys(same), key=same.count)
    keep = torch.tensor([i for i, shape in enumerate(shapes) if shape == usual][:count], device=language.device)
    true, false = (run[keep] for run in runs)
    length = int(true.last[0]) + 1
    first = int((true.ids[:, :length] != false.ids[:, :length]).any(0).nonzero()[0])
    everywhere = torch.arange(length, device=language.device).expand(len(keep), -1)

    chances, there = language.run(true, at=everywhere)
    before, streams = language.run(false, at=everywhere)
    at = torch.arange(first, length, device=language.device)
    copies, rows = false[torch.arange(len(keep), device=language.device).repeat(len(at))], len(keep)
    moved = torch.zeros(rows, language.depth, len(at))
    for block in range(0, language.depth, every):
        vectors = there[block][:, at].transpose(0, 1).flatten(0, 1)
        edit = Edit({block: vectors}, at.repeat_interleave(rows)[:, None], replaces=True)
        found = language.run(copies, edit=edit, after=(block, streams[block].repeat(len(at), 1, 1)))[0]
        change = readings(found).view(len(at), rows).T - readings(before)[:, None]
        moved[:, block : block + every] = change.cpu()[:, None]
    labels = [language.tokenizer.decode([int(i)]).strip() for i in false.ids[0, first:length]]
    gap = (readings(chances) - readings(before)).cpu()
    return Patch(moved, gap, labels, int(true.word[0]) - first, int(true.stop[0]) - first)


def causal_blocks(effect: Float[Tensor, " blocks"]) -> list[int]:
    """The run of blocks around the largest effect in which the effect is at least half of that, ascending."""
    best, low, high = effect.max(), int(effect.argmax()), int(effect.argmax())
    while low > 0 and effect[low - 1] >= best / 2:
        low -= 1
    while high + 1 < len(effect) and effect[high + 1] >= best / 2:
        high += 1
    return list(range(low, high + 1))


# ---- geometry ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """States at one place of statements of several types, centred for each model, block and type.

    Attributes:
        states: the centred states.
        labels: which statements are true.
        kinds: names of the types.
    """

    states: Float[Tensor, "models blocks types rows width"]
    labels: Bool[Tensor, "types rows"]
    kinds: tuple[str, ...]

    def rows(self, kinds):
        """States (models × blocks, rows, width) and labels (rows,) of some types together."""
        use = [self.kinds.index(kind) for kind in kinds]
        return self.states[:, :, use].flatten(2, 3).flatten(0, 1), self.labels[use].flatten()

    def at(self, block):
        """The same for one block."""
        return Survey(self.states[:, block : block + 1], self.labels, self.kinds)


def survey(languages, statements: dict, places=("word",), blocks: int | None = None) -> dict[str, Survey]:
    """A `Survey` of models of equal depth and width for each of `places` ("word", "stop").

    Args:
        languages: `Language`s.
        statements: {type: statements}, as many of each.
        places: tokens to look at.
        blocks: how many blocks to read, from the first on; None for all.
    """
    rows = [s for kind in statements.values() for s in kind]
    found = [language.states(rows, places, blocks) for language in languages]
    states = {p: torch.stack([f[p] for f in found]).unflatten(2, (len(statements), -1)).cpu() for p in places}
    labels = torch.tensor([[s.true for s in kind] for kind in statements.values()])
    return {p: Survey(s - s.mean(3, keepdim=True), labels, tuple(statements)) for p, s in states.items()}


def direction(survey: Survey, training: str, probe: str) -> Float[Tensor, "models blocks width"]:
    """Directions of a probe ("mass-mean", "logistic", "Fisher" or "CCS") fitted on one of `TRAININGS`.

    Raises:
        ValueError: for CCS without pairs of opposites.
    """
    kinds = TRAININGS[training]
    if probe == "CCS":
        if len(kinds) != 2:
            raise ValueError(f"training = {training!r}: expected statements with their opposites for CCS")
        (X, y), (opposite, _) = (survey.rows([kind]) for kind in kinds)
        found = probes.ccs(X, opposite, y)
    else:
        found = FITS[probe](*survey.rows(kinds))
    return found.unflatten(0, survey.states.shape[:2])


def right(survey: Survey, directions: Float[Tensor, "models blocks width"]) -> Bool[Tensor, "models blocks types rows"]:
    """Which statements directions get right."""
    return (torch.einsum("mbkrd,mbd->mbkr", survey.states, directions) > 0) == survey.labels


def accuracies(survey: Survey, directions: Float[Tensor, "models blocks width"]) -> Float[Tensor, "models blocks types"]:
    """Accuracy on the statements of every type."""
    return right(survey, directions).float().mean(-1)


def by_fact(found: Bool[Tensor, "types rows"]) -> Float[Tensor, "facts types"]:
    """Share of each fact's two statements that is right, where rows are pairs as `facts.statements` makes them."""
    return found.unflatten(1, (-1, 2)).double().mean(2).T


def by_family(scores: Float[Tensor, "facts fitted probes types"]) -> dict[str, Float[Tensor, "facts fitted probes own"]]:
    """Scores split into `FAMILIES`: one fact has scores on the types of its family alone."""
    return {name: scores[..., list(types)] for name, types in FAMILIES.items()}


def on_others(**families: Float[Tensor, "resamples facts fitted probes own"]) -> Float[Tensor, "resamples fitted probes"]:
    """Mean accuracy on the types of other families than the one fitted on, for each of `FITTED`, from `by_family`."""
    means = torch.cat([families[name].mean(1) for name in FAMILIES], -1)
    columns = []
    for i, own in enumerate(FITTED.values()):
        others = [k for name, types in FAMILIES.items() if name != own for k in types]
        columns.append(means[:, i][..., others].mean(-1))
    return torch.stack(columns, 1)


def in_plane(fit: Survey, test: Survey) -> Bool[Tensor, "types rows"]:
    """Which statements lie on their side of the best line through the plane of most variance; plane and line from `fit`.

    For the first model and block, each type in its own plane.
    """
    X = fit.states[0, 0]
    axes = torch.linalg.svd(X, full_matrices=False).Vh[:, :2].transpose(1, 2)
    lines = probes.converged(X @ axes, fit.labels)
    return torch.einsum("krc,kc->kr", test.states[0, 0, : len(X)] @ axes, lines).gt(0) == test.labels[: len(X)]


def cosine(a, b):
    """Cosines of directions (…, width)."""
    return torch.nn.functional.cosine_similarity(a, b, -1)


def principal(X: Float[Tensor, "*sets rows width"], count: int = 2) -> Float[Tensor, "*sets rows count"]:
    """Coordinates of centred states along their first principal components."""
    return X @ torch.linalg.svd(X, full_matrices=False).Vh[..., :count, :].transpose(-1, -2)


def likely(language, questions: Sequence, rank: int, seed: int = 0):
    """Text that goes on with the model's most likely token, or with its `rank`-th: text probability without truth.

    Prompts are cut at random and continued; half of them (labelled true) by the most likely token.

    Returns:
        States (blocks, texts, width) at the last token, centred, and labels (texts,) bool.
    """
    rng, whole = Random(f"likely {seed}"), language.pose(questions)
    cut = torch.tensor([rng.randrange(1, int(last) + 1) for last in whole.last], device=language.device)
    everything = torch.arange(len(language.tokenizer), device=language.device).expand(len(cut), -1)
    ranked = language.run(type(whole)(whole.ids, cut, cut, cut, whole.answers), ask=everything)[0].topk(rank).indices
    rows = torch.arange(len(cut), device=language.device)
    ids = torch.cat([whole.ids, whole.ids[:, -1:]], 1)
    ids[rows, cut + 1] = torch.where(rows % 2 == 0, ranked[:, 0], ranked[:, -1])
    tokens = type(whole)(ids, cut + 1, cut + 1, cut + 1, whole.answers)
    states = language.run(tokens, at=(cut + 1)[:, None])[1][:, :, 0].cpu()
    return states - states.mean(1, keepdim=True), (rows % 2 == 0).cpu()


# ---- interventions -----------------------------------------------------------------------------------------------------


def published(directions, means):
    """The paper's step along a probe: the difference of the class means, projected on the probe's direction."""
    unit = torch.nn.functional.normalize(directions, dim=-1)
    return (means * unit).sum(-1, keepdim=True) * unit


def equal(directions, means):
    """A step along a probe of the length of the difference of the class means."""
    return torch.nn.functional.normalize(directions, dim=-1) * means.norm(dim=-1, keepdim=True)


def controls(survey: Survey, means: Float[Tensor, "models blocks width"], count: int, seed: int = 0):
    """`count` random steps (count, models, blocks, width) as long as `means`, shaped like the data, blind to truth.

    Each is a random combination of the states, centred within the true and within the false statements of each type, so it
    lies where states lie. An isotropic step would mostly leave that space, and so move the model too little.
    """
    signs = torch.where(survey.labels, 1.0, -1.0)[..., None]
    rest = survey.states - signs * (survey.states * signs).mean(3, keepdim=True)  # labels are balanced, states centred
    weights = torch.randn(count, *rest.shape[:-1], generator=torch.Generator().manual_seed(seed))
    return equal(torch.einsum("cmbkr,mbkrd->cmbd", weights, rest), means)


def pushes(survey: Survey, directions: dict, seed: int = 0) -> dict[tuple, Float[Tensor, "models blocks width"]]:
    """Steps along directions, as published and at equal length, with four controls.

    Args:
        survey: where the directions were fitted.
        directions: {(fitted on, probe): (models, blocks, width)}, mass-mean for each that is fitted on.
        seed: of the controls, which are as long as the first mass-mean direction.

    Returns:
        {key: step}, with keys ("published", fitted on, probe), ("equal", fitted on, probe) and ("control", i); for mass-mean
        the first two are the same, and the second is left out.
    """
    means = {fitted: d for (fitted, probe), d in directions.items() if probe == "mass-mean"}
    found = {("published", *key): published(d, means[key[0]]) for key, d in directions.items()}
    found |= {("equal", *key): equal(d, means[key[0]]) for key, d in directions.items() if key[1] != "mass-mean"}
    return found | {("control", i): d for i, d in enumerate(controls(survey, next(iter(means.values())), 4, seed))}


@dataclass(frozen=True)
class Steering:
    """What a model says after false and after true statements, left alone and pushed.

    Attributes:
        before: after false and after true statements.
        after: false statements pushed along each step, true ones against it.
    """

    before: Float[Tensor, "sides contexts"]
    after: Float[Tensor, "steps sides contexts"]

    @property
    def nie(self) -> Float[Tensor, "steps sides"]:
        """Normalised indirect effects, false → true and true → false."""
        return effects(self.before, self.after)


def effects(
    before: Float[Tensor, "*r sides contexts"], after: Float[Tensor, "*s sides contexts"]
) -> Float[Tensor, "*s sides"]:
    """Normalised indirect effects: the share of the way from one mean reading to the other that a push covers."""
    before = before.mean(-1)
    gap = before[..., 1] - before[..., 0]
    return (after.mean(-1) - before) / torch.stack([gap, -gap], -1)


def steer(language, false: Sequence, true: Sequence, steps: Float[Tensor, "steps blocks width"], blocks, places=("word",)):
    """Push a model while it reads statements, along each of `steps` after false ones and against it after true ones.

    Args:
        language: a `Language`.
        false, true: as many `Question`s on false statements as on true ones.
        steps: for each of the model's blocks the vector that is added after it; or one vector for all.
        blocks: the blocks that are used.
        places: the tokens that are pushed: "word", the last word of the statement, and "stop", its end.

    Returns:
        A `Steering`.
    """
    steps = steps.expand(-1, language.depth, -1).to(language.device)
    tokens, signs = language.pose([*false, *true]), torch.tensor([1.0] * len(false) + [-1.0] * len(true))
    count, everywhere = len(signs), torch.arange(tokens.ids.shape[1], device=language.device)
    chances, streams = language.run(tokens, at=everywhere.expand(count, -1))
    copies = tokens[torch.arange(count, device=language.device).repeat(len(steps))]
    vectors = {b: (steps[:, None, b] * signs.to(steps)[:, None]).flatten(0, 1) for b in blocks}
    start = (blocks[0], streams[blocks[0]].repeat(len(steps), 1, 1))
    found = language.run(copies, edit=Edit(vectors, copies.places(places)), after=start)[0]
    return Steering(readings(chances).view(2, -1).cpu(), readings(found).view(len(steps), 2, -1).cpu())
