"""Seating units on a sheet so that the wires are short: a quadratic assignment problem, and its exact pair-exchange kernel.

S (n, n) is how strongly two units are connected, in both directions, with zero diagonal; D (n, n) the distance of two slots;
L[i, s] the wire to inputs and outputs of the unit now in slot i, if it sat in slot s. All wires cost ½ Σ S D + Σ L[i, i].
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...checks import check
from ...kernels.rate import RateNetworks


@dataclass(frozen=True)
class Wires:
    """Seating problems of a stack of networks.

    Attributes:
        S: strengths between units, symmetric, zero diagonal.
        L: cost of the wires to inputs and outputs, of each unit in each slot.
        D: distances between slots, symmetric, zero diagonal.
    """

    S: Float[Tensor, "members units units"]
    L: Float[Tensor, "members units units"]
    D: Float[Tensor, "units units"]

    def cost(self) -> Float[Tensor, " members"]:
        """Σ |w| d over all wires."""
        return 0.5 * (self.S * self.D).sum((1, 2)) + self.L.diagonal(dim1=1, dim2=2).sum(1)

    def seated(self, order: Int[Tensor, "members units"]) -> "Wires":
        """The problem after reseating: slot s holds the unit that sat in slot `order[:, s]`."""
        n = order.shape[1]
        rows, columns = order[:, :, None].expand(-1, -1, n), order[:, None].expand(-1, n, -1)
        return Wires(self.S.gather(1, rows).gather(2, columns), self.L.gather(1, rows), self.D)


def wires(stack: RateNetworks, place) -> Wires:
    """The seating problems of networks on a `networks.Sheet`."""
    W, U, _, V, _ = stack.parts()
    S = W.abs() + W.abs().mT
    S = S - torch.diag_embed(S.diagonal(dim1=1, dim2=2))
    return Wires(S, U.abs() @ place.inputs.T + V.abs().mT @ place.outputs, place.lateral)


def _gains(C, S, D):
    """Changes of cost from C[i, s], the cost of all wires of the unit in slot i if it alone moved to slot s."""
    alone = torch.addcmul(C, S, D).sub_(C.diagonal(dim1=1, dim2=2)[:, :, None])
    return alone + alone.mT


def gains(problem: Wires) -> Float[Tensor, "members units units"]:
    """Change of cost when the units in slots a and b change places: all pairs from one product. Exact.

    With C = S D + L it is C[a, b] + C[b, a] - C[a, a] - C[b, b] + 2 S[a, b] D[a, b] (the chapter's own derivation).
    """
    return _gains(problem.S @ problem.D + problem.L, problem.S, problem.D)


def gains_plain(problem: Wires, member: int = 0) -> Float[Tensor, "units units"]:
    """`gains` of one member by the definition: exchange two units and add up all wires again. The plain reference."""
    S, L, D = problem.S[member], problem.L[member], problem.D
    n = len(D)
    base = Wires(S[None], L[None], D).cost()
    change = torch.zeros_like(S)
    for a in range(n):
        for b in range(a):
            order = torch.arange(n)
            order[a], order[b] = b, a
            change[a, b] = change[b, a] = (Wires(S[None], L[None], D).seated(order[None]).cost() - base)[0]
    return change


@dataclass(frozen=True)
class Exchange:
    """What `exchange` returns.

    Attributes:
        order: slot s holds the unit that sat in slot `order[:, s]` at first.
        pairs: the slots exchanged in each round; equal ones where a member had come to rest.
        costs: before the first round and after each.
    """

    order: Int[Tensor, "members units"]
    pairs: Int[Tensor, "rounds members 2"]
    costs: Float[Tensor, "records members"]

    def after(self, rounds: int) -> Int[Tensor, "members units"]:
        """The order after so many rounds."""
        members = torch.arange(len(self.order))
        order = torch.arange(self.order.shape[1]).repeat(len(self.order), 1)
        for a, b in self.pairs[:rounds].transpose(1, 2):
            order[members, a], order[members, b] = order[members, b], order[members, a]
        return order


def exchange(problem: Wires, most: int = 10**6) -> Exchange:
    """Exchange the best pair of each member, again and again, until no exchange shortens its wires or `most` are done.

    This is the steepest 2-opt descent for quadratic assignment. An exchange changes S D by a rank-one term, so it costs n².
    """
    check("most", most, int, low=1)
    S, D, n = problem.S.clone(), problem.D, len(problem.D)
    C = S @ D + problem.L
    members = torch.arange(len(S), device=S.device)
    order = torch.arange(n, device=S.device).repeat(len(S), 1)
    costs, pairs = [problem.cost()], []
    floor = -1e-6 * costs[0].abs()  # below the rounding of the costs themselves
    while len(pairs) < most:
        best, at = _gains(C, S, D).flatten(1).min(1)
        better = best < floor
        if not bool(better.any()):
            break
        a, b = at // n, torch.where(better, at % n, at // n)
        C += (S[members, :, a] - S[members, :, b])[:, :, None] * (D[b] - D[a])[:, None]
        for tensor in (C, S, order):
            tensor[members, a], tensor[members, b] = tensor[members, b], tensor[members, a]
        S[members, :, a], S[members, :, b] = S[members, :, b], S[members, :, a]
        pairs.append(torch.stack([a, b], 1))
        costs.append(costs[-1] + torch.where(better, best, 0.0))
    pairs = torch.stack(pairs) if pairs else order.new_zeros(0, len(S), 2)
    return Exchange(order, pairs, torch.stack(costs))
