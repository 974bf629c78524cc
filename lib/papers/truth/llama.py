"""The toy: a stack of tiny Llamas, trained together on documents of the small world, each with a curriculum of its own.

The architecture is that of `transformers.LlamaForCausalLM`; `export` gives exactly that, with a tokenizer of its own. That
a truth direction emerges in a transformer whose documents share their truth is due to Ravfogel et al. (arXiv:2510.15804).
"""

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...checks import check
from ...kernels.optimisers import AdamW
from ...kernels.problems import Problem, unpack
from ...kernels.training import train
from . import world

WIDTH, LAYERS, HEADS, HIDDEN, EPS, BASE = 64, 3, 4, 128, 1e-5, 1e4
EVERY = 25  # steps between two looks at a toy in training
RATE = 3e-3  # the largest learning rate
GATE, RAMP = 0.7, 400  # effect of cities that opens the second stage, steps over which the diet then changes
CHECKPOINTS = Path(__file__).parent / "checkpoints"


def shapes():
    """Name -> shape of one toy's parameters; linear maps act on rows from the right."""
    d, f, v, n = WIDTH, HIDDEN, len(world.VOCABULARY), LAYERS
    return {
        "embed": (v, d), "head": (d, v), "norm": (d,), "norm1": (n, d), "norm2": (n, d),
        "qkv": (n, d, 3 * d), "out": (n, d, d), "up": (n, d, 2 * f), "down": (n, f, d),
    }  # fmt: skip


SIZE = sum(int(np.prod(shape)) for shape in shapes().values())


def weights(theta):
    """Parameters as a dict of views (members, …) into `theta` (members, SIZE)."""
    return dict(zip(shapes(), unpack(theta, shapes().values()), strict=True))


def initial(seeds):
    """Packed initial parameters (members, SIZE), float32, one member for each seed."""
    theta = torch.empty(len(seeds), SIZE)
    scales = {"embed": 0.05, "head": 0.5 / WIDTH**0.5, "qkv": WIDTH**-0.5, "up": WIDTH**-0.5}
    scales |= {"out": (2 * LAYERS * WIDTH) ** -0.5, "down": (2 * LAYERS * HIDDEN) ** -0.5}
    for row, seed in zip(theta, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        for name, view in weights(row[None]).items():
            if name.startswith("norm"):
                view.fill_(1)
            else:
                view.copy_(torch.randn(view.shape, generator=generator) * scales[name])
    return theta


@functools.cache
def _rotations(length, device):
    """Cosines and signed sines of rotary position embeddings, each (length, 1, head width)."""
    size = WIDTH // HEADS
    angles = torch.outer(torch.arange(length), BASE ** (-torch.arange(0, size, 2) / size)).repeat(1, 2)[:, None]
    sign = torch.tensor([-1.0, 1.0]).repeat_interleave(size // 2)
    return angles.cos().to(device), (angles.sin() * sign).to(device)


def forward(parameters, tokens):
    """The last hidden states, normed, (members, texts × length, WIDTH), of a stack of toys reading `tokens`.

    Args:
        parameters: dict of tensors (members, …), see `shapes`.
        tokens: (members, texts, length), int64.
    """
    members, texts, length = tokens.shape
    p, size = parameters, WIDTH // HEADS
    cos, sin = _rotations(length, tokens.device)

    def norm(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)

    offsets = len(world.VOCABULARY) * torch.arange(members, device=tokens.device)
    x = F.embedding((tokens + offsets[:, None, None]).flatten(1), p["embed"].flatten(0, 1))
    into = (
        (p["norm1"][..., None] * p["qkv"]).unbind(1),
        (p["norm2"][..., None] * p["up"]).unbind(1),
    )  # the norms' weights too
    for qkv, out, up, down in zip(into[0], p["out"].unbind(1), into[1], p["down"].unbind(1), strict=True):
        qkv = torch.bmm(norm(x), qkv).view(members * texts, length, 3 * HEADS, size)
        qk, v = qkv.split([2 * HEADS, HEADS], 2)
        qk = qk * cos + qk.roll(size // 2, -1) * sin
        q, k, v = (part.transpose(1, 2) for part in (*qk.split(HEADS, 2), v))
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + torch.bmm(read.reshape(members, texts * length, WIDTH), out)
        gate, up = torch.bmm(norm(x), up).chunk(2, -1)
        x = x + torch.bmm(F.silu(gate) * up, down)
    return norm(x) * p["norm"][:, None]


def logits(parameters, tokens):
    """Logits (members, texts, length, vocabulary)."""
    return torch.bmm(forward(parameters, tokens), parameters["head"]).view(*tokens.shape, -1)


# ---- training ----------------------------------------------------------------------------------------------------------


@functools.cache
def _exam(count, device):
    """Questions after true and after false statements of each simple type: tokens, last positions, answers."""
    rows, last, answers = [], [], []
    for kind in world.SIMPLE:
        contexts = sorted(world.statements(kind, 2 * count, seed=10**6), key=lambda s: not s.true)
        for question in world.ask(contexts, seed=10**6):
            ids = world.encode(question.prompt)
            last.append(len(ids) - 1)
            answers.append(world.ID[question.answer.lower()])
            rows.append(ids + [0] * (12 - len(ids)))
    return tuple(torch.tensor(x, device=device) for x in (rows, last, answers))


@torch.no_grad()
def examine(parameters, count=50):
    """Mean P(correct country) after a true and after a false statement, (members, 6 types, 2)."""
    tokens, last, answers = _exam(count, str(parameters["embed"].device))
    members = len(parameters["embed"])
    states = forward(parameters, tokens.expand(members, *tokens.shape)).view(members, *tokens.shape, -1)
    states = states[:, torch.arange(len(last)), last]
    chances = torch.bmm(states, parameters["head"]).softmax(-1)[:, torch.arange(len(last)), answers]
    return chances.view(members, len(world.SIMPLE), 2, count).mean(-1)


@dataclass(frozen=True)
class Toys(Problem):
    """A stack of toys in training.

    Attributes:
        theta: packed parameters (members × SIZE,).
        seeds: one for each member, of its initialisation and its documents.
        documents, length: in a batch, tokens in a document.
        opened: the step at which each member's second stage began, (members,) float, infinite before. Shared and changed.
    """

    theta: torch.Tensor
    seeds: list
    documents: int = 64
    length: int = 32
    opened: torch.Tensor = field(default=None)

    @property
    def sizes(self):
        return torch.full((len(self.seeds),), SIZE, device=self.theta.device)

    @property
    def parameters(self):
        return weights(self.theta.view(len(self.seeds), SIZE))

    def select(self, members):
        """As `Problem.select`; what opens a second stage later is not shared with this stack."""
        theta = self.theta.view(len(self.seeds), SIZE)[members].flatten()
        return replace(self, theta=theta, seeds=[self.seeds[i] for i in members.tolist()], opened=self.opened[members])

    def batch(self, step):
        """Documents (members, documents, length) of a step: each member's depend on its own seed and the step alone."""
        shape = (self.documents, 1 + world.SLOTS, world.DRAWS)
        streams = [torch.Generator().manual_seed(10**6 * (seed + 1) + step) for seed in self.seeds]
        mixture = torch.tensor(world.MIXTURE, device=self.theta.device)
        start = torch.eye(len(mixture), device=self.theta.device)[0]
        chances = start.lerp(mixture, ((step - self.opened) / RAMP).clamp(0, 1)[:, None])
        draws = torch.stack([torch.rand(shape, generator=stream) for stream in streams]).to(self.theta.device)
        return world.documents(chances, draws, self.length)

    def losses(self, step=None):
        """Cross-entropy (members,), nats for each token, on the documents of `step`, by default on some that no step has."""
        tokens = self.batch(-1 if step is None else step)
        found = logits(self.parameters, tokens[:, :, :-1]).flatten(0, 2)
        return F.cross_entropy(found, tokens[:, :, 1:].flatten(), reduction="none").view(len(self.seeds), -1).mean(1)


@dataclass(frozen=True)
class Trained:
    """Toys and their history.

    Attributes:
        seeds: one for each toy.
        theta: (members, SIZE).
        steps: steps examined, (T,).
        chances: P(correct country) after a true and after a false statement of each simple type, (T, members, 6, 2).
        opened: first step of the second stage, (members,); infinite where it never began.
        snapshots: {step: theta (members, SIZE)} at the steps asked for.
    """

    seeds: list
    theta: torch.Tensor
    steps: torch.Tensor
    chances: torch.Tensor
    opened: torch.Tensor
    snapshots: dict = field(default_factory=dict)

    @property
    def effects(self):
        """P(correct) after a true minus after a false statement, (T, members, 6 types)."""
        return self.chances[..., 0] - self.chances[..., 1]


def teach(seeds, steps, *, documents=64, length=32, keep=(), stop=None, device="cpu", progress=iter):
    """Train one toy for each seed, all in one stack.

    A toy sees statements about cities alone until it trusts a speaker who has said something true over one who has not
    (the effect of cities exceeds `GATE`); then the diet changes over `RAMP` steps to the mixture of all types.

    Args:
        seeds: one for each member.
        steps: updates; AdamW with warm-up over 50 steps, constant to 70 % of the steps, then linear down to 5 %.
        documents, length: in a batch, tokens in a document.
        keep: steps at which to keep the parameters (multiples of `EVERY`).
        stop: leave off after this many updates of the schedule; None for all.
        device, progress: as for `train`.

    Returns:
        A `Trained`.

    Raises:
        ValueError: for a bad argument.
    """
    check("seeds", seeds, [int], low=0)
    check("steps", steps, int, low=1)
    check("length", length, int, low=12)
    opened = torch.full((len(seeds),), float("inf"), device=device)
    toys = Toys(initial(seeds).flatten().to(device), list(seeds), documents, length, opened)
    snapshots = {}

    def factor(step):
        return min(1, (step + 1) / 50) * min(1, 0.05 + 0.95 * (steps - step) / (0.3 * steps))

    def look(step, problem):
        chances = examine(problem.parameters)
        opened[(chances[:, 0, 0] - chances[:, 0, 1] > GATE) & opened.isinf()] = step
        if step in keep:
            snapshots[step] = problem.theta.view(len(seeds), SIZE).clone()
        return chances

    run = train(
        toys, AdamW(RATE, decay=0.1, clip=1.0, betas=(0.9, 0.98), schedule=factor), stop or steps,
        at=range(0, (stop or steps) + 1, EVERY), record=look, progress=progress,
    )  # fmt: skip
    theta = run.problem.theta.view(len(seeds), SIZE)
    return Trained(list(seeds), theta, run.steps, torch.stack(run.records), opened, snapshots)


def save(trained, folder=CHECKPOINTS):
    """Write each toy as `<seed>.npz`: its parameters and its history in float16, some 300 kB."""
    Path(folder).mkdir(exist_ok=True)
    for i, seed in enumerate(trained.seeds):
        np.savez_compressed(
            Path(folder) / f"{seed}.npz",
            theta=trained.theta[i].cpu().numpy().astype(np.float16),
            chances=trained.chances[:, i].cpu().numpy().astype(np.float16),
            steps=trained.steps.numpy().astype(np.int32),
            opened=np.float32(trained.opened[i].item()),
        )


def stored(count, folder=CHECKPOINTS):
    """The first `count` toys of `python -m lib.papers.truth`, as a `Trained`.

    Raises:
        ValueError: if there are fewer.
    """
    seeds = sorted(int(path.stem) for path in Path(folder).glob("*.npz"))[:count]
    if len(seeds) < count:
        raise ValueError(f"stored = {count}: expected at most {len(seeds)}, the number of stored toys")
    rows = [dict(np.load(Path(folder) / f"{seed}.npz")) for seed in seeds]
    theta, chances = (torch.stack([torch.from_numpy(r[name]).float() for r in rows]) for name in ("theta", "chances"))
    opened = torch.tensor([float(r["opened"]) for r in rows])
    return Trained(seeds, theta, torch.from_numpy(rows[0]["steps"]).long(), chances.transpose(0, 1), opened)


# ---- export ------------------------------------------------------------------------------------------------------------


def tokenizer():
    """The toy's tokenizer as a `transformers.PreTrainedTokenizerFast`: one token for each phrase, `<bos>` in front."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel(world.ID, unk_token=world.PAD))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(world.PATTERN), behavior="removed", invert=True)
    core.post_processor = processors.TemplateProcessing(single=f"{world.BOS} $A", special_tokens=[(world.BOS, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=world.BOS, pad_token=world.PAD)


def export(theta):
    """One toy (SIZE,) as a `transformers.LlamaForCausalLM`, float32, in evaluation mode."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(world.VOCABULARY), hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, rms_norm_eps=EPS, max_position_embeddings=64,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=None, pad_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": BASE},
    )  # fmt: skip
    p = {name: part[0] for name, part in weights(theta[None]).items()}
    tensors = {
        "model.embed_tokens.weight": p["embed"], "model.norm.weight": p["norm"], "lm_head.weight": p["head"].T,
    }  # fmt: skip
    for i in range(LAYERS):
        q, k, v = p["qkv"][i].T.chunk(3)
        gate, up = p["up"][i].T.chunk(2)
        tensors |= {
            f"model.layers.{i}.{name}.weight": value
            for name, value in {
                "self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v, "self_attn.o_proj": p["out"][i].T,
                "mlp.gate_proj": gate, "mlp.up_proj": up, "mlp.down_proj": p["down"][i].T,
                "input_layernorm": p["norm1"][i], "post_attention_layernorm": p["norm2"][i],
            }.items()
        }  # fmt: skip
    model = LlamaForCausalLM(config).to(theta.device).eval()
    model.load_state_dict({name: value.contiguous() for name, value in tensors.items()})
    return model
