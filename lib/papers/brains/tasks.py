"""The twenty tasks of Yang et al. (2019) in the form that neurogym gave them in 2022, as one vectorised trial generator.

Every trial of every task is the same five periods, some of them empty: fixation, stimulus, delay, second stimulus, decision.
So a batch that mixes all tasks is a few comparisons of the clock with the ends of the periods, and no loop over trials.
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...checks import check

TASKS = (
    "go", "rtgo", "dlygo", "anti", "rtanti", "dlyanti",
    "dm1", "dm2", "ctxdm1", "ctxdm2", "multidm",
    "dlydm1", "dlydm2", "ctxdlydm1", "ctxdlydm2", "multidlydm",
    "dms", "dnms", "dmc", "dnmc",
)  # fmt: skip
FAMILIES = {"reach": range(6), "decide": range(6, 11), "delayed": range(11, 16), "match": range(16, 20)}
CONTEXT = (8, 9, 13, 14)  # tasks that must ignore one of the two rings
FIXATION, STIMULUS, DELAY, SECOND, DECISION = range(5)


@dataclass(frozen=True)
class Timing:
    """How long the periods are and what the stimuli look like. Times in steps of 100 ms.

    Attributes:
        directions: directions on each ring, and answers beside "keep fixating".
        reach, react, delayed_reach, decide, delayed, match: lengths of the five periods for each kind of task.
        jitter: fixation lasts up to this many steps less or more, where `jittered` says so.
        jitter_reach: whether reaching tasks have that jitter too (decisions always, matching never).
        noise: standard deviation of the noise on the rings, in each step.
        noisy_fixation: whether the fixation channel carries that noise too, in the decision tasks.
        coherences: differences in strength of two simultaneous stimuli.
    """

    directions: int
    reach: tuple[int, ...]
    react: tuple[int, ...]
    delayed_reach: tuple[int, ...]
    decide: tuple[int, ...]
    delayed: tuple[int, ...]
    match: tuple[int, ...]
    jitter: int
    jitter_reach: bool
    noise: float
    noisy_fixation: bool
    coherences: tuple[float, ...]

    @property
    def inputs(self) -> int:
        """Input channels: fixation, two rings, one rule for each task."""
        return 1 + 2 * self.directions + len(TASKS)

    @property
    def outputs(self) -> int:
        """Answers: keep fixating, or one of the directions."""
        return 1 + self.directions

    def periods(self) -> tuple[Int[Tensor, "tasks periods"], Int[Tensor, " tasks"]]:
        """Middle lengths of the periods and the largest deviation of the first."""
        kinds = [self.reach, self.react, self.delayed_reach] * 2 + [self.decide] * 5 + [self.delayed] * 5 + [self.match] * 4
        jitter = [self.jitter * self.jitter_reach] * 6 + [self.jitter] * 10 + [0] * 4
        return torch.tensor(kinds), torch.tensor(jitter)


TIMINGS = {
    "short": Timing(
        directions=8, reach=(2, 2, 0, 0, 2), react=(2, 0, 0, 0, 2), delayed_reach=(2, 2, 3, 0, 2), decide=(2, 4, 0, 0, 2),
        delayed=(2, 2, 3, 2, 2), match=(1, 2, 3, 2, 2), jitter=1, jitter_reach=True, noise=0.05, noisy_fixation=False,
        coherences=(0.16, 0.32, 0.48, 0.64),
    ),
    "full": Timing(
        directions=16, reach=(5, 5, 0, 0, 5), react=(5, 0, 0, 0, 5), delayed_reach=(5, 5, 5, 0, 5), decide=(3, 5, 0, 0, 2),
        delayed=(3, 5, 10, 5, 2), match=(3, 5, 10, 5, 9), jitter=1, jitter_reach=False, noise=0.1, noisy_fixation=True,
        coherences=(0.08, 0.16, 0.32, 0.64),
    ),
}  # fmt: skip
STRENGTHS = (0.3, 0.6, 1.0)  # of two stimuli shown one after the other: two different ones of these


@dataclass(frozen=True)
class Trials:
    """A batch of trials, padded to the longest.

    Attributes:
        task: indices into `TASKS`.
        x: inputs: fixation, ring 1, ring 2, rule; zero after the end. float32.
        y: the right answer at every step: 0 to keep fixating, else 1 + direction.
        length: steps of each trial.
        strength: of the two stimuli on each of the two rings, 0 where none is shown.
    """

    task: Int[Tensor, " trials"]
    x: Float[Tensor, "trials steps inputs"]
    y: Int[Tensor, "trials steps"]
    length: Int[Tensor, " trials"]
    strength: Float[Tensor, "trials 2 2"]

    def packed(self) -> tuple[Float[Tensor, "rows inputs"], Int[Tensor, " rows"], list[int]]:
        """Inputs, answers and the number of rows of each step: step after step, the longest trials first.

        The first rows of a step continue those of the step before, so a network spends no time on padding.
        """
        order = self.length.argsort(descending=True, stable=True)
        live = torch.arange(self.x.shape[1])[:, None] < self.length[order]
        return self.x[order].transpose(0, 1)[live], self.y[order].T[live], live.sum(1).tolist()


def _pick(rng, values, *shape):
    """Draws (shape) from `values`, uniformly."""
    return torch.tensor(values)[torch.randint(len(values), shape, generator=rng)]


def _strengths(rng, timing, task):
    """Strengths (B, 2 stimuli, 2 rings) of the stimuli of each trial."""
    count, G2 = len(task), (len(task), 2)
    half = _pick(rng, timing.coherences, *G2) * _pick(rng, (-0.5, 0.5), *G2)
    together = torch.stack([0.5 + half, 0.5 - half], 1)
    first, step = torch.randint(3, G2, generator=rng), torch.randint(1, 3, G2, generator=rng)
    apart = torch.tensor(STRENGTHS)[torch.stack([first, (first + step) % 3], 1)]
    decide, delayed, match = ((task >= low) & (task < high) for low, high in ((6, 11), (11, 16), (16, 20)))
    single = torch.zeros(count, 2, 2)
    single[torch.arange(count), :, torch.randint(2, (count,), generator=rng)] = 1
    single[~match, 1] = 0  # reaching has one stimulus
    strength = torch.where(decide[:, None, None], together, torch.where(delayed[:, None, None], apart, single))
    kind = torch.where(decide, task - 6, task - 11)  # dm1, dm2, ctxdm1, ctxdm2, multidm
    for ring in (0, 1):
        strength[(decide | delayed) & (kind == 1 - ring), :, ring] = 0
    return strength


def _answers(rng, timing, task, strength):
    """Directions of the two stimuli (B, 2) and the right answers (B,): 0 for keep fixating, else 1 + direction."""
    G, count = timing.directions, len(task)
    first = torch.randint(G, (count,), generator=rng)
    second = (first + torch.randint(1, G, (count,), generator=rng)) % G
    same = torch.rand(count, generator=rng) < 0.5
    # Matching: the second stimulus is the first or its opposite (dms, dnms); or, for categories, any of the right half ring.
    upper = first > G // 2  # as in the original, the sample's half ring begins one later than the test's
    half = torch.randint(G // 2, (count,), generator=rng) + (upper == same) * (G // 2)
    by_direction, by_category = (task == 16) | (task == 17), task >= 18
    second = torch.where(
        by_direction, torch.where(same, first, (first + G // 2) % G), torch.where(by_category, half, second)
    )
    respond = same == (task % 2 == 0)  # dms and dmc respond to a match, dnms and dnmc to a non-match
    kind = torch.where(task < 11, task - 6, task - 11)
    heard = torch.stack([kind != 3, kind != 2], 1)  # the context tasks listen to one ring
    evidence = ((strength[:, 0] - strength[:, 1]) * heard).sum(1)
    tie = evidence.abs() < 1e-4
    winner = torch.where(tie, torch.rand(count, generator=rng) - 0.5, evidence) > 0
    decided = torch.where(winner, first, second)
    reached = (first + (task >= 3) * (G // 2)) % G
    answer = torch.where(task < 6, reached, torch.where(task < 16, decided, second)) + 1
    return torch.stack([first, second], 1), torch.where((task >= 16) & ~respond, 0, answer)


def trials(task: Int[Tensor, " trials"], timing: Timing, rng: torch.Generator, *, aligned: bool = False) -> Trials:
    """Draw one trial for each entry of `task`.

    Args:
        task: indices into `TASKS`, 0 to 19.
        timing: of the periods.
        rng: generator on the CPU.
        aligned: fixation always takes its middle length, so that the trials of a task have the same length.

    Returns:
        `Trials`, on the CPU, so that a seed means the same trials everywhere.

    Raises:
        ValueError: if `task` is empty or holds something else than 0 to 19.
    """
    if task.dim() != 1 or not len(task) or not bool(((task >= 0) & (task < len(TASKS))).all()):
        raise ValueError(f"task = {task.tolist()}: expected a non-empty list of whole numbers from 0 to {len(TASKS) - 1}")
    G, count = timing.directions, len(task)
    strength = _strengths(rng, timing, task)
    where, answer = _answers(rng, timing, task, strength)

    periods, jitter = timing.periods()
    lengths = periods[task]
    if not aligned:
        lengths[:, FIXATION] += (torch.rand(count, generator=rng) * (2 * jitter[task] + 1)).long() - jitter[task]
    ends = lengths.cumsum(1)
    steps = int(ends[:, -1].max())
    period = (torch.arange(steps)[None, :, None] >= ends[:, None]).sum(2)  # (B, T), 5 after the end

    offset = (torch.arange(G) - where[..., None] + G // 2) % G - G // 2
    bump = 0.8 * torch.exp(-0.5 * (offset * (2 * torch.pi / G) / (torch.pi / 8)) ** 2)  # (B, 2 stimuli, G)
    single = (strength[:, :, :, None] * bump[:, :, None]).flatten(2)  # (B, 2 stimuli, 2G)
    react, together = (task == 1) | (task == 4), (task >= 6) & (task < 11)
    image = torch.zeros(count, 6, 2 * G)
    image[:, STIMULUS] = single[:, 0] + together[:, None] * single[:, 1]
    image[:, SECOND] = single[:, 1]
    image[:, DECISION] = react[:, None] * single[:, 0]
    rings = image.gather(1, period[..., None].expand(-1, -1, 2 * G))

    # Noise comes with the stimuli of decisions (both rings) and matching (the ring that is used); reaching has none.
    ringed = torch.where((task >= 16)[:, None], strength[:, 0] > 0, (task >= 6)[:, None].expand(-1, 2))
    noisy = ((period == STIMULUS) | (period == SECOND)).float()[..., None]
    noise = timing.noise * torch.randn(count, steps, 1 + 2 * G, generator=rng) * noisy
    rings += noise[..., 1:] * ringed.float().repeat_interleave(G, 1)[:, None]
    fixation = (period < DECISION).float()[..., None]
    if timing.noisy_fixation:
        fixation = fixation + noise[..., :1] * ((task >= 6) & (task < 16)).float()[:, None, None]
    live = (period <= DECISION).float()[..., None]
    rule = torch.nn.functional.one_hot(task, len(TASKS)).float()[:, None] * live
    y = torch.where(period == DECISION, answer[:, None], 0)
    x = torch.cat([fixation, rings, rule], 2)
    return Trials(task, x, y, ends[:, -1], strength)


def mixture(context: float) -> Float[Tensor, " tasks"]:
    """How often training draws each task: the four context tasks `context` times as often as the others."""
    check("context", context, float, above=0)
    weight = torch.ones(len(TASKS))
    weight[list(CONTEXT)] = context
    return weight / weight.sum()


def ceilings(timing: Timing, draws: int = 50_000, seed: int = 0) -> Float[Tensor, " tasks"]:
    """Accuracy of an ideal observer who knows both directions and must judge the strengths through the noise.

    It knows which pairs of strengths occur, sees each with Gaussian noise (bumps that overlap are told apart worse), and
    sums its posterior over the pairs for which the first stimulus is the stronger one. Ties are decided by a coin.
    """
    rng = torch.Generator().manual_seed(seed)
    G, noise = timing.directions, timing.noise
    angle = (torch.arange(G) + G // 2) % G - G // 2
    bump = torch.exp(-0.5 * (angle * (2 * torch.pi / G) / (torch.pi / 8)) ** 2)
    power = 0.64 * (bump @ bump).item()
    overlap = torch.stack([bump @ bump.roll(k) for k in range(1, G)]) / (bump @ bump)
    limit = torch.ones(len(TASKS))
    halves = [sign * c / 2 for c in timing.coherences for sign in (-1, 1)]
    together = torch.tensor([(0.5 + h, 0.5 - h) for h in halves])
    apart = torch.tensor(list(itertools.permutations(STRENGTHS, 2)))
    for pairs, steps, blur, first in (
        (together, timing.decide[STIMULUS], 1 - overlap[torch.randint(G - 1, (draws,), generator=rng)], 6),
        (apart, timing.delayed[STIMULUS], torch.ones(draws), 11),
    ):
        spread = noise / (steps * power * blur).sqrt()
        true = pairs[torch.randint(len(pairs), (draws, 2), generator=rng)]  # (draws, 2 rings, 2 stimuli)
        seen = true + spread[:, None, None] * torch.randn(true.shape, generator=rng)
        fit = -0.5 * ((seen[:, :, None] - pairs) / spread[:, None, None, None]).square().sum(3)  # (draws, rings, pairs)
        belief, gap = fit.softmax(2), pairs[:, 0] - pairs[:, 1]
        one = (belief[:, 0] @ gap.sign()).sign() == (true[:, 0, 0] - true[:, 0, 1]).sign()
        sums = torch.where((gap[:, None] + gap).abs() < 1e-4, 0.0, (gap[:, None] + gap).sign())
        both = torch.einsum("bi,bj,ij->b", belief[:, 0], belief[:, 1], sums).sign()
        truth = (true[..., 0] - true[..., 1]).sum(1)
        two = torch.where(truth.abs() < 1e-4, 0.5, (both == truth.sign()).float())
        limit[first : first + 4], limit[first + 4] = one.float().mean(), two.mean()
    return limit
