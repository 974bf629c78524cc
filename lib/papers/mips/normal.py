"""One recurrent network, the freedom in its weights, and the normal forms that spend it.

The last and first layers of f and the first layer of g are linear in h, so h -> A h + s with any invertible A gives another
network with the same outputs. MIPS (Michaud et al., arXiv:2402.05110) chooses A by five *normalizers* so that the weights
become simple; for networks whose f and g are affine the observer form does it in closed form. All float64 NumPy on the CPU.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from ...checks import check
from ...kernels.optimisers import Adam
from ...kernels.rnn import Sequences, random_recurrent
from ...kernels.training import train

# The paper's hidden sizes for the tasks whose networks are affine
AFFINE = {
    "Bitwise_Not": 1, "Sum_All": 1, **{f"Sum_Last{k}": k for k in range(2, 8)}, "Current_Number": 1,
    **{f"Prev{k}": k + 1 for k in range(1, 6)}, "Diff_Last2": 2, "Bit_Shift_Right": 2, "Parity_Bits_Mod2": 2,
    "Newton_Freebody": 2, "Newton_Gravity": 2, "Newton_Spring": 2, "Newton_Magnetic": 4,
}  # fmt: skip
# Hidden sizes (the paper's, one more for Parity_Last2) and neurons in f's hidden layer (ours) for some of the others
CURVED = {
    "Binary_Addition": (2, 8), "Parity_Last2": (2, 8), "Parity_Last3": (2, 16), "Parity_Last4": (3, 24),
    "Add_Mod_3": (1, 48), "Abs_Current": (1, 16), "Abs_Diff": (2, 16), "Max_Seen": (1, 8), "Balanced_Parenthesis": (1, 24),
    "Majority_0_1": (1, 16), "Previous_Equals_Current": (2, 16), "Base_3_Addition": (2, 16),
}  # fmt: skip
ACTIVATIONS = {"relu": lambda h: np.maximum(h, 0), "tanh": np.tanh}


def as_array(name, value, dims):
    """`value` as a finite float64 array with `dims` dimensions, or a ValueError that names it."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != dims or not array.size:
        raise ValueError(f"{name} = array of shape {array.shape}: expected {dims} dimensions, none empty")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} = {array[~np.isfinite(array)][0]} among its values: expected finite numbers")
    return array


def _mlp(layers, h, activation):
    for depth, (W, b) in enumerate(layers):
        h = (ACTIVATIONS[activation](h) if depth else h) @ W.T + b
    return h


@dataclass(frozen=True)
class Network:
    """One recurrent network: h_t = f([h_{t-1}, x_t]), y_t = g(h_t).

    Attributes:
        transition: layers ((W (out, in), b (out,)), …) of f; the first takes n hidden units, then d inputs.
        readout: layers of g.
        start: h_0, shape (n,); None for zeros.
        activation: "relu" or "tanh", between the layers; the last layers are linear.
    """

    transition: tuple
    readout: tuple
    start: np.ndarray | None = None
    activation: str = "relu"

    def __post_init__(self):
        check("activation", self.activation, set(ACTIVATIONS))
        for name in ("transition", "readout"):
            layers = [(as_array(f"{name} W", W, 2), as_array(f"{name} b", b, 1)) for W, b in getattr(self, name)]
            shapes = [W.shape for W, _ in layers]
            chained = all(a[0] == b[1] for a, b in pairwise(shapes))
            if not layers or not chained or any(len(b) != len(W) for W, b in layers):
                raise ValueError(f"{name} = layers of shapes {shapes}: expected each to take what the one before gives")
            object.__setattr__(self, name, tuple(layers))
        n = len(self.transition[-1][0])
        if self.transition[0][0].shape[1] <= n:
            raise ValueError(
                f"transition = {self.transition[0][0].shape[1]} inputs: expected more than the {n} hidden units"
            )
        if self.readout[0][0].shape[1] != n:
            raise ValueError(f"readout = {self.readout[0][0].shape[1]} inputs: expected the {n} hidden units")
        start = np.zeros(n) if self.start is None else as_array("start", self.start, 1)
        if len(start) != n:
            raise ValueError(f"start = array of shape {start.shape}: expected ({n},)")
        object.__setattr__(self, "start", start)

    @property
    def size(self):
        """Hidden units n."""
        return len(self.start)

    @property
    def affine(self):
        """Whether f and g have one layer each."""
        return len(self.transition) == len(self.readout) == 1

    def weights(self):
        """W (n, n), U (n, d), b (n,), V (o, n), c (o,): h' = W h + U x + b, y = V h + c.

        Exact for affine networks; otherwise W and U are products of f's weights with the activations ignored, b is the bias
        of f's last layer, and V, c are g's first layer.
        """
        whole = self.transition[0][0]
        for W, _ in self.transition[1:]:
            whole = W @ whole
        return whole[:, : self.size], whole[:, self.size :], self.transition[-1][1], *self.readout[0]

    def states(self, x):
        """Hidden states h_1 … h_T (S, T, n) on the sequences x (S, T, d)."""
        x = as_array("x", x, 3)
        h, states = np.broadcast_to(self.start, (len(x), self.size)), []
        for t in range(x.shape[1]):
            h = _mlp(self.transition, np.concatenate([h, x[:, t]], 1), self.activation)
            states.append(h)
        return np.stack(states, 1)

    def __call__(self, x):
        """Outputs (S, T, o) on the sequences x (S, T, d)."""
        return _mlp(self.readout, self.states(x), self.activation)

    def change(self, A, shift=0.0):
        """The same function with hidden states A h + shift, for an invertible A (n, n): the affine symmetry."""
        inverse = np.linalg.inv(A)
        shift = np.zeros(self.size) + shift

        def undo(layers):
            (W, b), *rest = layers
            W = np.concatenate([W[:, : self.size] @ inverse, W[:, self.size :]], 1)
            return [(W, b - W[:, : self.size] @ shift), *rest]

        *first, (W, b) = undo(self.transition)
        transition = (*first, (A @ W, A @ b + shift))
        return replace(self, transition=transition, readout=tuple(undo(self.readout)), start=A @ self.start + shift)


def network(stack, member, x_unit=1.0, y_unit=1.0):
    """One member of an `rnn.Recurrent` as a `Network` on plain inputs and outputs.

    The stack saw inputs x / x_unit and learned targets y / y_unit; the units go into the weights. Hidden states are
    multiplied by x_unit too, so that reading a 1 moves them as far as it would in a network trained on plain inputs.
    """
    transition, readout = ([(W[member].double().cpu().numpy(), b[member].double().cpu().numpy()) for W, b in part]
                           for part in stack.layers())  # fmt: skip
    n = stack.transition[-1]
    (W, b), *rest = transition
    transition = [(np.concatenate([W[:, :n], W[:, n:] / x_unit], 1), b), *rest]
    *rest, (W, b) = readout
    net = Network(tuple(transition), (*rest, (W * y_unit, b * y_unit)), activation=stack.activation)
    return net.change(x_unit * np.eye(n))


def small_network(task, hidden, width=0, *, members=24, steps=(3000, 6000), rate=1e-2, seed=0, pool=8192):
    """A small network as the paper has it, on plain inputs, that makes no error on `pool` fresh sequences.

    Loss and form are the paper's (log(1 + r²)/2 at all positions, one number an input, g affine). The search is not:
    `members` starts at once, Adam with a rate that falls linearly to 3 %, the best 60 % kept after each third.

    Args:
        task: a `tasks.Task`.
        hidden: hidden units n.
        width: neurons in f's hidden layer; 0 makes f affine.
        members: starts.
        steps: of each attempt; the next one, with fresh starts, is made where the one before fails.
        rate: Adam's first learning rate.
        seed: of data and starts.
        pool: sequences to learn from, and fresh ones to pass.

    Returns:
        A `Network`, or None.
    """
    check("hidden", hidden, int, low=1)
    check("width", width, int, low=0)
    check("steps", steps, [int], low=3)
    (x, y), (fresh, wanted) = task.sample(pool, [seed, 0]), task.sample(pool, [seed, 1])
    largest = abs(y).max()
    x_unit, y_unit = max(abs(task.low), abs(task.high)), largest if largest > 10 else max(largest, 1) / 2
    data = [torch.tensor(part, dtype=torch.float32) for part in (x / x_unit, y / y_unit)]
    sizes = (hidden + x.shape[2], *[width][: width > 0], hidden)
    for attempt, total in enumerate(steps):
        start, leg = seed + 1000 * attempt, total // 3
        stack = random_recurrent(members, sizes, (hidden, y.shape[2]), seed=start)
        for k in range(3):
            falling = Adam(rate, clip=1.0, schedule=lambda t, k=k, leg=leg: 1 - 0.97 * (k + t / leg) / 3)
            run = train(Sequences(stack, *data, batch=96, seed=start + k), falling, leg)
            best = run.losses[-1].argsort()
            stack = run.model.stack.select(best[: max(2, round(0.6 * len(best)))])
        for member in range(min(3, stack.members)):
            net = network(stack, member, x_unit, y_unit)
            if (np.round(net(fresh)) == wanted).all():
                return net
    return None


def untrained(task, hidden, width=0, *, seed=0):
    """A network of the same form at its random start."""
    x, y = task.sample(1, 0)
    sizes = (hidden + x.shape[2], *[width][: width > 0], hidden)
    stack = random_recurrent(1, sizes, (hidden, y.shape[2]), seed=seed)
    return network(stack, 0, max(abs(task.low), abs(task.high)))


# --- normalizers


def whiten(net, x, eps=0.1):
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


def jordan(net, eps=0.7, tol=0.1):
    """Bring W towards real Jordan form, three times over; undone where it fails or weights exceed 10⁴.

    Eigenvalues closer than `eps` count as one: the authors' large default, needed because a defective eigenvalue splits
    under noise. Singular values below `tol` count as zero in the null spaces that give the chains.
    """
    for _ in range(3):
        try:
            S = _jordan_basis(net.weights()[0], eps, tol)
            changed = net.change(np.linalg.inv(S))
        except (np.linalg.LinAlgError, ValueError):
            return net
        if max(abs(part).max() for part in changed.weights()) > 1e4:
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


def toeplitz(net, tol=0.1):
    """Spend the freedom Jordan blocks leave: upper triangular Toeplitz matrices commute with them.

    In every real block one input then enters a single unit, with weight 1: the last unit that any input enters with at
    least `tol` times the largest weight. Nothing happens if W is not in Jordan form within `tol`.
    """
    W, U, *_ = net.weights()
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


def debias(net, eps=0.1):
    """Move the part of f's last bias that f never reads (singular values below `eps`) into g's first bias."""
    _, s, V = np.linalg.svd(net.transition[0][0][:, : net.size])
    unread = V[np.concatenate([s, np.zeros(len(V) - len(s))]) < eps]
    P = unread.T @ unread
    (G, c), *later = net.readout
    *first, (W, b) = net.transition
    return replace(net, transition=(*first, (W, b - P @ b)), readout=((G, c + G @ P @ b), *later))


def quantise(net, tol=0.01):
    """Every weight and bias within `tol` of a whole number becomes that number."""

    def near(a):
        return np.where(abs(a - np.round(a)) <= tol, np.round(a), a)

    transition, readout = (tuple((near(W), near(b)) for W, b in part) for part in (net.transition, net.readout))
    return replace(net, transition=transition, readout=readout)


def normalise(net, x):
    """The network after each of the paper's five normalizers, in their order: a dict of name to `Network`."""
    stages = {"trained": net}
    steps = (("whitening", lambda net: whiten(net, x)), ("Jordan", jordan), ("Toeplitz", toeplitz), ("de-bias", debias),
             ("quantised", quantise))  # fmt: skip
    for name, step in steps:
        stages[name] = net = step(net)
    return stages


def observer(net, tol=1e-3):
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
    W, U, b, V, c = net.weights()
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


def integer_share(net, tol=0.02):
    """Share of weights, biases and start values within `tol` of a whole number."""
    layers = [part.ravel() for pair in (*net.transition, *net.readout) for part in pair]
    every = np.concatenate([*layers, net.start])
    return float((abs(every - np.round(every)) <= tol).mean())
