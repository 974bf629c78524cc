"""Networks for the L1 norm: f(x) = Σ_j w_j s(Σ_i W_ji x_i) with s(z) = z sigmoid(z), n inputs, h hidden neurons, no biases.

W is (…, h, n) and w (…, h). In a network that a hypernetwork makes, h = 3n, and hidden neurons stand slot by slot: neuron
k n + i is in slot k and belongs to input i. Inputs are x ~ N(0, 1), independent. Hand-built networks are float64.
"""

import math

import networkx
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SLOTS = 3  # hidden neurons for each input


def normal(*shape: int, seed: int, device: str | torch.device = "cpu") -> Float[Tensor, "..."]:
    """Standard normal float32 numbers of the given shape, the same for the same `seed`."""
    return torch.randn(*shape, generator=torch.Generator(device).manual_seed(seed), device=device)


def outputs(
    W: Float[Tensor, "*K h n"], w: Float[Tensor, "*K h"], x: Float[Tensor, "*X points n"]
) -> Float[Tensor, "*K points"]:
    """What networks say at the points x, whose leading axes are those of the networks or none."""
    return (F.silu(x @ W.mT) @ w[..., None])[..., 0]


def misfit(f: Float[Tensor, "*K points"], x: Float[Tensor, "*X points n"]) -> Float[Tensor, "*K"]:
    """ε = E(f - ‖x‖₁)² / Var ‖x‖₁ of outputs f at the points x, with the exact variance n (1 - 2/π).

    The L1 norm explains the share 1 - ε of the variance.
    """
    return (f - x.abs().sum(-1)).square().mean(-1) / (x.shape[-1] * (1 - 2 / math.pi))


def rescaled(f: Float[Tensor, "*K points"], x: Float[Tensor, "*X points n"]) -> Float[Tensor, "*K points"]:
    """Outputs f at the points x, multiplied by the one factor for each network that makes ε least."""
    return f * ((f * x.abs().sum(-1)).sum(-1) / f.square().sum(-1))[..., None]


def error(W: Float[Tensor, "*K h n"], w: Float[Tensor, "*K h"], x: Float[Tensor, "*X points n"]) -> Float[Tensor, "*K"]:
    """ε of networks, see `misfit`."""
    return misfit(outputs(W, w, x), x)


# ---- built by hand -------------------------------------------------------------------------------------------------------


def double_sided(n: int, gain: float = 10.0) -> tuple[Tensor, Tensor]:
    """|x| = ReLU(x) + ReLU(-x) for every input: W (2n, n), w (2n,). Exact as `gain` grows."""
    eye = torch.eye(n, dtype=torch.float64)
    return torch.cat([gain * eye, -gain * eye]), torch.full((2 * n,), 1 / gain, dtype=torch.float64)


def pudding(n: int, sign: int = 1, gain: float = 10.0, flat: float = 1e4) -> tuple[Tensor, Tensor]:
    """‖x‖₁ = 2 Σ ReLU(σx_i) - σ Σ x_i with n + 1 neurons: W (n + 1, n), w (n + 1,). From a public draft of the paper.

    The last neuron is the linear term, 2K s(-σS/K) -> -σS for large K = `flat`.
    """
    plums = sign * gain * torch.eye(n, dtype=torch.float64)
    W = torch.cat([plums, torch.full((1, n), -sign / flat, dtype=torch.float64)])
    return W, torch.tensor([2 / gain] * n + [2 * flat], dtype=torch.float64)


def plums(n: int, background: float | Tensor, sign: int = 1, gain: float = 100.0) -> tuple[Tensor, Tensor]:
    """Pudding without the extra neuron: rows σC(δ_ji - λ/n), λ = `background`, a number or (L,): W (…, n, n), w (…, n).

    At λ = 1 this is the L1 norm of the vector less its mean (this chapter's own identity).
    """
    shares = torch.as_tensor(background, dtype=torch.float64)[..., None, None]
    W = sign * gain * (torch.eye(n, dtype=torch.float64) - shares / n)
    return W, torch.full(W.shape[:-1], 2 / gain, dtype=torch.float64)


def convex(n: int, neurons: int, copies: int = 1, seed: int = 0, gain: float = 10.0) -> tuple[Tensor, Tensor]:
    """Random rows: W (copies, neurons, n) normal, w (copies, neurons) equal. The scale of w is to be fitted."""
    W = gain * normal(copies, neurons, n, seed=seed).double()
    return W, torch.full(W.shape[:-1], 1 / (gain * neurons), dtype=torch.float64)


# ---- taken apart ---------------------------------------------------------------------------------------------------------


def nine_numbers(W: Float[Tensor, "*K h n"], w: Float[Tensor, "*K h"]) -> tuple[Tensor, Tensor]:
    """Networks in which each slot has one weight to the own input, one to all others and one output weight: their means."""
    n = W.shape[-1]
    slots = W.unflatten(-2, (-1, n))  # (…, slots, neurons of a slot, n)
    own = slots.diagonal(dim1=-2, dim2=-1).mean(-1)
    others = (slots.sum((-2, -1)) - n * own) / (n * (n - 1))
    eye = torch.eye(n, dtype=W.dtype, device=W.device)
    made = others[..., None, None] + (own - others)[..., None, None] * eye
    return made.flatten(-3, -2), w.unflatten(-1, (-1, n)).mean(-1, keepdim=True).expand(*own.shape, n).flatten(-2)


def merge_linear(W: Float[Tensor, "h n"], w: Float[Tensor, " h"]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A pudding with the slot that holds its linear term as one neuron, and without that slot: (W, w) twice.

    That slot is the one whose summed weights go most against the plums; the one neuron has its mean row and its summed
    output weight.
    """
    n = W.shape[-1]
    slots, out = W.unflatten(0, (-1, n)), w.unflatten(0, (-1, n))
    pull = (slots.diagonal(dim1=1, dim2=2) * out).mean(1)
    flat = (slots.sum(-1) * out).mean(1) * pull.sum().sign()
    k = int(flat.argmin())
    keep = [i for i in range(len(slots)) if i != k]
    rest, weights = slots[keep].flatten(0, 1), out[keep].flatten()
    merged = torch.cat([rest, slots[k].mean(0, keepdim=True)]), torch.cat([weights, out[k].sum()[None]])
    return merged, (rest, weights)


def layout(W: Float[Tensor, "h n"], w: Float[Tensor, " h"], seed: int = 0) -> Float[Tensor, "nodes 2"]:
    """Force-directed positions of a network's n inputs, h hidden neurons and its output, joined by springs |weight|.

    Weights below 3 % of the largest of their layer are no edges.
    """
    h, n = W.shape
    graph = networkx.empty_graph(n + h + 1)
    first, last = (v.abs() / v.abs().max().clamp(min=1e-12) for v in (W, w))
    graph.add_weighted_edges_from((i, n + j, first[j, i].item()) for j in range(h) for i in range(n) if first[j, i] > 0.03)
    graph.add_weighted_edges_from((n + j, n + h, 0.3 * last[j].item()) for j in range(h) if last[j] > 0.03)
    places = networkx.spring_layout(graph, seed=seed, iterations=150, k=1.2 / math.sqrt(n + h + 1))
    return torch.stack([torch.from_numpy(places[node]) for node in range(n + h + 1)])
