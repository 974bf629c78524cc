"""The normal forms that spend the freedom in a network's weights.

The last and first layers of f and the first layer of g are linear in h, so h -> A h + s with any invertible A gives another
network with the same outputs. MIPS (Michaud et al., arXiv:2402.05110) chooses A by five *normalizers* so that the weights
become simple; for networks whose f and g are affine the observer form does it in closed form. All float64 NumPy on the CPU.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from .networks import Network


def whiten(net: Network, x: Int[np.ndarray, "sequences times inputs"], eps: float = 0.1) -> Network:
    """Make the second moments of the hidden states on the sequences x one: the symmetric root of their inverse.

    Moments about zero, as in the authors' code; directions with a moment below `eps` are left alone.
    """
    h = net.states(x).reshape(-1, net.size)
    moments, Q = np.linalg.eigh(h.T @ h / len(h))
    return net.change(Q @ np.diag([m**-0.5 if m > eps else 1.0 for m in moments]) @ Q.T)


def _chains(N, tol):
    """Columns that bring a nearly nilpotent N (m, m) to Jordan form: for each block N^{k-1} w, …, N w, w."""
    m = len(N)
    powers = [np.linalg.matrix_power(N, k) for k in range(m + 1)]
    nulls = [np.zeros((m, 0))]
    for k in range(1, m + 1):
        _, s, V = np.linalg.svd(powers[k])
        count = m if k == m else max(int((s < tol * max(1.0, s[0])).sum()), nulls[-1].shape[1])
        nulls.append(V[m - count :].conj().T)
    tops = []  # (w, length), longest first
    for k in range(m, 0, -1):
        taken = [nulls[k - 1], *(powers[length - k] @ w[:, None] for w, length in tops)]
        taken, _ = np.linalg.qr(np.concatenate(taken, 1))
        free = nulls[k] - taken @ (taken.conj().T @ nulls[k])
        U, s, _ = np.linalg.svd(free)
        tops += [(U[:, i], k) for i in range((s > 0.5).sum())]
    return np.stack([powers[i] @ w for w, length in tops for i in range(length - 1, -1, -1)], 1)


def _jordan_basis(W, eps, tol):
    """A real S (n, n) such that S⁻¹ W S is near Jordan form, eigenvalues closer than `eps` taken as one."""
    values = np.linalg.eigvals(W)
    near = np.linalg.matrix_power((abs(values[:, None] - values) < eps).astype(int), len(W)) > 0
    columns = []
    for group in np.unique(near, axis=0):
        mean, size = values[group].mean(), group.sum()
        if mean.imag < -1e-9:
            continue  # its conjugate stands for both
        real = abs(mean.imag) <= 1e-9
        factors = [W - v * np.eye(len(W)) for v in values[group]]
        product = np.linalg.multi_dot(factors) if size > 1 else factors[0]
        Q = np.linalg.svd(product.real if real else product)[2][-size:].conj().T
        block = Q @ _chains(Q.conj().T @ W @ Q - (mean.real if real else mean) * np.eye(size), tol)
        columns += list(block.T) if real else [part for v in block.T for part in (v.real, v.imag)]
    return np.stack(columns, 1)


def jordan(net: Network, eps: float = 0.7, tol: float = 0.1) -> Network:
    """Bring W towards real Jordan form, three times over; undone where it fails or weights exceed 10⁴.

    Eigenvalues closer than `eps` count as one: the authors' large default, needed because a defective eigenvalue splits
    under noise. Singular values below `tol` count as zero in the null spaces that give the chains.
    """
    for _ in range(3):
        try:
            S = _jordan_basis(net.weights[0], eps, tol)
            changed = net.change(np.linalg.inv(S))
        except (np.linalg.LinAlgError, ValueError):
            return net
        if max(abs(part).max() for part in changed.weights) > 1e4:
            return net
        net = changed
    return net


def _blocks(W, tol):
    """Slices of W's real Jordan blocks, or [] if W is not in Jordan form within `tol`."""
    n = len(W)
    linked = [abs(W[i, i + 1] - 1) < tol and abs(W[i, i] - W[i + 1, i + 1]) < tol for i in range(n - 1)]
    rest = W - np.diag(np.diag(W)) - np.diag(np.array(linked, float), 1)
    starts = [0] + [i + 1 for i in range(n - 1) if not linked[i]]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], n], strict=True)] if abs(rest).max() < tol else []


def toeplitz(net: Network, tol: float = 0.1) -> Network:
    """Spend the freedom Jordan blocks leave: upper triangular Toeplitz matrices commute with them.

    In every real block one input then enters a single unit, with weight 1: the last unit that any input enters with at
    least `tol` times the largest weight. Nothing happens if W is not in Jordan form within `tol`.
    """
    W, U, *_ = net.weights
    A = np.eye(net.size)
    for block in _blocks(W, tol):
        size = block.stop - block.start
        entered = np.flatnonzero(abs(U[block]).max(1) >= tol * abs(U).max())
        if len(entered):
            last = entered[-1]
            u = U[block][:, abs(U[block][last]).argmax()]
            T = sum(u[last - k] * np.eye(size, k=k) for k in range(last + 1))
            A[block, block] = np.linalg.inv(T)
    return net.change(A)


def debias(net: Network, eps: float = 0.1) -> Network:
    """Move the part of f's last bias that f never reads (singular values below `eps`) into g's first bias."""
    _, s, V = np.linalg.svd(net.transition[0][0][:, : net.size])
    unread = V[np.concatenate([s, np.zeros(len(V) - len(s))]) < eps]
    P = unread.T @ unread
    (G, c), *later = net.readout
    *first, (W, b) = net.transition
    return replace(net, transition=(*first, (W, b - P @ b)), readout=((G, c + G @ P @ b), *later))


def quantise(net: Network, tol: float = 0.01) -> Network:
    """Every weight and bias within `tol` of a whole number becomes that number."""

    def near(a):
        return np.where(abs(a - np.round(a)) <= tol, np.round(a), a)

    transition, readout = (tuple((near(W), near(b)) for W, b in part) for part in (net.transition, net.readout))
    return replace(net, transition=transition, readout=readout)


def normalise(net: Network, x: Int[np.ndarray, "sequences times inputs"]) -> dict[str, Network]:
    """The network after each of the paper's five normalizers, in their order: a dict of name to `Network`."""
    stages = {}
    steps = (("whitening", lambda net: whiten(net, x)), ("Jordan", jordan), ("Toeplitz", toeplitz), ("de-bias", debias),
             ("quantised", quantise))  # fmt: skip
    for name, step in steps:
        stages[name] = net = step(net)
    return stages


def observer(net: Network, tol: float = 1e-3) -> Network:
    """Affine networks in observer form: unit k of the hidden state is the output k steps ahead if all inputs were zero.

    With O = [V; VW; VW²; …] cut to its first n rows and s_k = c + Σ_{j<k} V W^j b the new state is O h + s. Then
    V = [I 0], c = 0, the rows of U are the first responses V W^k U, W has ones above the diagonal and, in its last rows,
    the coefficients of the linear recurrence that the output obeys; a task that is linear over the whole numbers gives
    whole numbers everywhere. Directions of h that no output ever shows are dropped, so the result may have fewer units;
    values of the start are rounded, and then set to 0, where W hands on less than 0.01 of the difference. The chapter's own
    derivation, standard in control.

    Args:
        net: an affine `Network`.
        tol: singular values of O below `tol` times the largest count as zero.

    Raises:
        ValueError: if the network is not affine.
    """
    if not net.affine:
        raise ValueError(f"net = {len(net.transition)} and {len(net.readout)} layers: expected one layer in f and in g")
    W, U, b, V, c = net.weights
    rows, offsets, row, offset = [], [], V, c
    for _ in range(net.size + 1):
        rows.append(row)
        offsets.append(offset)
        row, offset = row @ W, offset + row @ b
    every, shifts = np.concatenate(rows), np.concatenate(offsets)
    rank = max(1, np.linalg.matrix_rank(every[: net.size], tol * np.linalg.norm(every, 2)))
    see, s = every[:rank], shifts[:rank]
    back, outputs = np.linalg.pinv(see), len(V)
    new_W, start = every[outputs : outputs + rank] @ back, s + see @ net.start
    bias = shifts[outputs : outputs + rank] - new_W @ s  # of O h' + s, since O W = new_W O (O is `see`)
    for simple in (np.round(start), np.zeros(rank)):
        start = np.where(abs(new_W).max(0) * abs(start - simple) < 0.01, simple, start)
    readout = (np.eye(outputs, rank), np.zeros(outputs)) if rank >= outputs else (V @ back, c - V @ back @ s)
    return Network(((np.concatenate([new_W, see @ U], 1), bias),), (readout,), start)


def integer_share(net: Network, tol: float = 0.02) -> float:
    """Share of weights, biases and start values within `tol` of a whole number."""
    layers = [part.ravel() for pair in (*net.transition, *net.readout) for part in pair]
    every = np.concatenate([*layers, net.start])
    return float((abs(every - np.round(every)) <= tol).mean())
