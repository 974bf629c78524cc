"""The hypernetwork: from a price β, random addresses and noise to networks. Reconstructed, not the paper's own.

Every weight of a network is made by one rule, a layer of a graph transformer, from what the edge's two ends know of
themselves. They know it through channels of limited capacity, and capacity is what has a price. Axes: members
(hypernetworks) first, then prices, then the axes of a network.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...checks import check
from ...kernels.problems import unpack
from .networks import SLOTS

CODE = 6  # numbers in an address
CHANNELS, HEADS, FEATURES = 16, 2, 6  # edge channels, attention heads, functions of β
LOW, HIGH = -7.0, 0.0  # log10 of the range of β


def prices(count: int) -> list[float]:
    """`count` values of β, evenly spaced in the logarithm over the range, ascending."""
    return torch.logspace(LOW, HIGH, count, dtype=torch.float64).tolist()


_Z, _C = CODE + 2, CHANNELS  # what a hidden neuron knows of itself, its address and its slot; what an edge carries
SHAPES = {  # of the rule's weights, 1715 numbers in all
    "Q": (_Z, HEADS * CODE), "E0": (3 * HEADS + 1, _C), "U0": (_Z, _C), "V0": (_Z, _C), "b0": (_C,), "G": (2, _C),
    "E1": (_C, _C), "A": (_C, _C), "B": (_C, _C), "C": (_C, _C), "V1": (_Z, _C), "b1": (_C,),
    "w": (_C,), "wb": (1,), "l0": (1,), "wv": (_C,), "l1": (1,),
}  # fmt: skip


def initial(
    seeds: int, gate: float | Float[Tensor, " seeds"] = 1.5, seed: int = 0, device: str = "cpu"
) -> dict[str, Float[Tensor, "seeds ..."]]:
    """Untrained hypernetworks, float32.

    Args:
        seeds: their number S.
        gate: initial size of the gate, through which a slot multiplies what an edge carries.
        seed: of the initialisation.
        device: where they live.

    Returns:
        `base` (S, P) and `turn` (S, 6, P), the rule's weights and how β turns them; `rate`, `shift` (S, 6), that turn;
        `open` (S, 14) and `close` (S, 6, 14), the capacities of the channels, which start equal at all prices.

    Raises:
        ValueError: for a bad argument.
    """
    check("seeds", seeds, int, low=1)
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(seeds, *shape, generator=rng)

    parts = {}
    for name, shape in SHAPES.items():
        zero = name in ("b0", "b1", "wb", "l0", "l1")
        parts[name] = torch.zeros(seeds, *shape) if zero else draw(*shape) / math.sqrt(shape[0])
    parts["Q"] = 0.5 * parts["Q"] + 1.2 * torch.eye(CODE + 2, CODE).repeat(1, HEADS)
    parts["E0"][:, -1] *= 0.05
    parts["G"] *= torch.as_tensor(gate, dtype=torch.float32).reshape(-1, 1, 1)
    parts["wv"] *= 0.3
    base = torch.cat([part.flatten(1) for part in parts.values()], 1)
    parameters = {
        "base": base,
        "turn": 0.02 * draw(FEATURES, base.shape[1]),
        "rate": 2 * draw(FEATURES),
        "shift": draw(FEATURES),
        "open": torch.ones(seeds, 2 * CODE + 2),
        "close": torch.zeros(seeds, FEATURES, 2 * CODE + 2),
    }
    return {name: tensor.to(device) for name, tensor in parameters.items()}


def noise_sizes(n: int) -> tuple[int, int, int, int]:
    """Numbers of noise for one network: on the addresses of inputs, of hidden neurons, on slots, and on edges."""
    h = SLOTS * n
    return n * CODE, h * CODE, h * 2, h * n


def sphere(v: Float[Tensor, "*K numbers"]) -> Float[Tensor, "*K numbers"]:
    """The vectors v, moved to the sphere whose radius is the root of their length."""
    return v * (math.sqrt(v.shape[-1]) / v.norm(dim=-1, keepdim=True))


def generate(
    parameters: dict[str, Float[Tensor, "S ..."]], beta: Float[Tensor, "S B"], addresses: Float[Tensor, "S B n 6"],
    noise: Float[Tensor, "S B numbers"],
) -> tuple[Float[Tensor, "S B h n"], Float[Tensor, "S B h"], Float[Tensor, "S B"]]:  # fmt: skip
    """The networks of S hypernetworks at B prices each.

    Args:
        parameters: as from `initial`.
        beta: prices of a nat.
        addresses: the address of each input, see `sphere`.
        noise: standard normal, as many numbers as `noise_sizes` adds up to.

    Returns:
        W, w, and what the price is to be paid for: nats.
    """
    S, B, n, _ = addresses.shape
    h, K = SLOTS * n, S * B
    u = 2 * (beta.log10() - LOW) / (HIGH - LOW) - 1
    phi = torch.tanh(u[..., None] * parameters["rate"][:, None] + parameters["shift"][:, None])
    theta = torch.baddbmm(parameters["base"][:, None], phi, parameters["turn"]).flatten(0, 1)
    p = dict(zip(SHAPES, unpack(theta, SHAPES.values()), strict=True))

    raw = torch.baddbmm(parameters["open"][:, None], phi, parameters["close"])
    capacity = (F.softplus(3 * raw) / 3).flatten(0, 1)  # (K, 14): of input addresses, hidden addresses, slots
    signal, blur = (1 - torch.exp(-2 * capacity)).clamp(min=1e-9).sqrt()[:, None], torch.exp(-capacity)[:, None]
    nats = n * capacity[:, :CODE].sum(1) + h * capacity[:, CODE:].sum(1)

    address = addresses.flatten(0, 1)
    angle = torch.arange(SLOTS, dtype=beta.dtype, device=beta.device) * (2 * math.pi / SLOTS)
    slot_code = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1).repeat_interleave(n, 0)
    clean = torch.cat([address.repeat(1, SLOTS, 1), slot_code.expand(K, h, 2)], 2)
    ins, hid, slots, edges = noise.flatten(0, 1).split(noise_sizes(n), 1)
    z_in = signal[..., :CODE] * address + blur[..., :CODE] * ins.view(K, n, CODE)
    z_hid = signal[..., CODE:] * clean + blur[..., CODE:] * torch.cat([hid.view(K, h, CODE), slots.view(K, h, 2)], 2)

    # One graph-transformer layer; everything on edges is (K, channels, h, n).
    query, key = (z @ p["Q"][:, : z.shape[2]] for z in (z_hid, z_in))
    query, key = (v.unflatten(2, (HEADS, CODE)).transpose(1, 2) for v in (query, key))
    scores = query @ key.mT / math.sqrt(CODE)
    features = torch.cat([scores, scores.softmax(3), scores.softmax(2), edges.view(K, 1, h, n)], 1)
    size = torch.tensor([1.0] * HEADS + [4.0] * 2 * HEADS + [1.0], device=beta.device)  # of the features
    row = (z_hid @ p["V0"] + p["b0"][:, None]).mT[..., None]
    column = (z_in @ p["U0"][:, :CODE]).mT[:, :, None]
    gate = 1 + (z_hid[..., CODE:] @ p["G"]).mT[..., None]
    e = torch.baddbmm((row + column).flatten(2), p["E0"].mT * size, features.flatten(2))
    e = F.silu(e).unflatten(2, (h, n)) * gate
    over_in, over_hid = e.sum(3) / n, e.sum(2) / h  # `mean` divides again for its gradient, edge by edge
    row = (p["A"].mT @ over_in + (z_hid @ p["V1"]).mT + p["b1"][..., None])[..., None]
    column = (p["B"].mT @ over_hid + p["C"].mT @ over_in.mean(2, keepdim=True))[:, :, None]
    e = F.silu(torch.baddbmm((row + column).flatten(2), p["E1"].mT, e.flatten(2)))
    W = 2 * torch.exp(3 * p["l0"]) * ((p["w"][:, None] @ e)[:, 0] + p["wb"])
    w = torch.exp(3 * p["l1"]) * (0.3 + (p["wv"][:, None] @ e.unflatten(2, (h, n)).sum(3))[:, 0] / n)
    return W.view(S, B, h, n), w.view(S, B, h), nats.view(S, B)
