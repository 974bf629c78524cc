"""Affine networks: from Markov parameters to a rank and to the shortest whole-number recurrence.

h' = W h + U x + b, y = V h + c has the outputs y_t = o_t + sum_k M_k x_{t-k} with M_k = V W^k U (the Markov parameters,
Kalman and Ho 1966) and o_t its answers to zeros. None of these changes when the hidden space is turned (h -> A h).
"""

import numpy as np
from jaxtyping import Float

from .expressions import linear
from .networks import Network
from .programs import Program, symbols

TERMS = 8  # of a recurrence, at most


def markov(
    net: Network, length: int
) -> tuple[Float[np.ndarray, "times outputs inputs"], Float[np.ndarray, "times outputs"]]:
    """Markov parameters (length, outputs, inputs) and answers to zeros (length, outputs)."""
    W, U, b, V, c = net.weights
    M, o, P, h = [], [], U, net.start
    for _ in range(length):
        h = W @ h + b
        M.append(V @ P)
        o.append(V @ h + c)
        P = W @ P
    return np.stack(M), np.stack(o)


def hankel(M: Float[np.ndarray, "times outputs inputs"]) -> Float[np.ndarray, " values"]:
    """Singular values of the block Hankel matrix of M (length, outputs, inputs): as many are not 0 as units are needed."""
    half = (len(M) + 1) // 2
    blocks = [[M[i + j] for j in range(len(M) - half + 1)] for i in range(half)]
    return np.linalg.svd(np.block(blocks), compute_uv=False)


def rank(M: Float[np.ndarray, "times outputs inputs"]) -> int:
    """Hidden units needed: singular values of the Hankel matrix of at least 1 % of the largest, and of 0.01."""
    values = hankel(M)
    return int((values >= 0.01 * max(values[0], 1)).sum())


def recurrence(M: Float[np.ndarray, "times outputs inputs"], o: Float[np.ndarray, "times outputs"]) -> tuple | None:
    """The shortest y_t = sum A_i y_{t-i} + sum B_j x_{t-j} + c in whole numbers with these whole M and o.

    Returns:
        A (p, outputs, outputs), B (q, outputs, inputs), c (outputs,), and y_{-1} … y_{-p}; None if there is none with
        p + q ≤ 8.
    """
    length, outputs, inputs = M.shape
    padded = lambda k: M[k] if k >= 0 else np.zeros((outputs, inputs))  # noqa: E731
    for size in range(1, TERMS + 1):
        for p in range(min(size, 3) + 1):
            q = size - p
            A = _feedback(M, o, p, q)
            B = (
                np.stack([M[k] - sum(A[i] @ padded(k - 1 - i) for i in range(p)) for k in range(q)])
                if q
                else np.zeros((0, outputs, inputs))
            )
            rest = [M[k] - sum(A[i] @ padded(k - 1 - i) for i in range(p)) for k in range(q, length)]
            c = o[p] - sum(A[i] @ o[p - 1 - i] for i in range(p))
            constant = [o[t] - sum(A[i] @ o[t - 1 - i] for i in range(p)) - c for t in range(p, length)]
            if np.any(rest) or np.any(constant):
                continue
            before = _before(A, o, c)
            if before is not None:
                return tuple(part.astype(int) for part in (A, B, c, before))
    return None


def _feedback(M, o, p, q):
    """Whole A_1 … A_p (p, outputs, outputs) closest to M_k = sum A_i M_{k-i} for k >= q, and the same for changes of o."""
    length, outputs, inputs = M.shape
    if not p:
        return np.zeros((0, outputs, outputs))
    early = np.concatenate([np.zeros((p, outputs, inputs)), M])  # early[k + p] is M_k
    change = np.diff(o, axis=0)
    past = [np.concatenate([early[k + p - i] for i in range(1, p + 1)]).T for k in range(q, length)]
    past += [np.concatenate([change[t - i] for i in range(1, p + 1)])[None] for t in range(p, length - 1)]
    now = [M[k].T for k in range(q, length)] + [change[t][None] for t in range(p, length - 1)]
    solution = np.linalg.lstsq(np.concatenate(past), np.concatenate(now), rcond=None)[0]
    return np.rint(solution).T.reshape(outputs, p, outputs).transpose(1, 0, 2)


def _before(A, o, c):
    """Whole y_{-1} … y_{-p} (p, outputs) from which the recurrence answers o to zeros; None if there are none."""
    p, outputs = A.shape[:2]
    if not p:
        return np.zeros((0, outputs))
    left, right = np.zeros((p * outputs, p * outputs)), np.zeros(p * outputs)
    for t in range(p):
        rows = slice(t * outputs, (t + 1) * outputs)
        right[rows] = o[t] - c - sum(A[i] @ o[t - 1 - i] for i in range(t))
        for i in range(t, p):
            left[rows, (i - t) * outputs : (i - t + 1) * outputs] = A[i]
    before = np.rint(np.linalg.lstsq(left, right, rcond=None)[0])
    return before.reshape(p, outputs) if np.array_equal(left @ before, right) else None


def program(A, B, c, before):
    """The recurrence as a `Program`, with the last inputs and outputs as its variables, or the last output and its change.

    Args:
        A, B, c, before: as `recurrence` returns them.
    """
    forms = [_recurrence(A, B, c, before)]
    forms += [_changes(A, B, c, before)] if len(A) == 2 and len(B) <= 1 else []
    return min(forms, key=lambda form: form.size)


def _changes(A, B, c, before):
    """y_t = A_1 y_{t-1} + A_2 y_{t-2} + B x_t + c as what is added to the last answer, and how that changes."""
    outputs = len(c)
    xs, mark = symbols(B.shape[2]), [str(i) if outputs > 1 else "" for i in range(outputs)]
    steps, totals = [], A[0] + A[1] - np.eye(outputs, dtype=int)
    for r in range(outputs):
        terms = [(-A[1, r, s], f"change{mark[s]}") for s in range(outputs)]
        terms += [(totals[r, s], f"total{mark[s]}") for s in range(outputs)]
        terms += [(k, x) for part in B for k, x in zip(part[r], xs, strict=True)] + [(c[r], 1)]
        terms = sorted(((int(k), name) for k, name in terms if k), key=lambda term: term[0] < 0)
        steps.append((f"next_change{mark[r]}", linear(terms)))
    steps += [(f"y{m}", ("+", f"total{m}", f"next_change{m}")) for m in mark]
    steps += [(f"next_total{m}", f"y{m}") for m in mark]
    start = {f"change{m}": int(before[0, i] - before[1, i]) for i, m in enumerate(mark)}
    start |= {f"total{m}": int(before[0, i]) for i, m in enumerate(mark)}
    return Program("affine", xs, start, tuple(steps), tuple(f"y{m}" for m in mark))


def _recurrence(A, B, c, before):
    """The recurrence as it stands."""
    p, q, outputs, inputs = len(A), len(B), len(c), B.shape[2] if len(B) else 1
    xs = symbols(inputs)
    ys = [f"y{i}" if outputs > 1 else "y" for i in range(outputs)]
    old_x = lambda j, i: xs[i] if j == 0 else f"{xs[i]}_{j}"  # noqa: E731
    old_y = lambda j, i: f"{ys[i]}_{j}"  # noqa: E731
    steps, used = [], set()
    for r in range(outputs):
        terms = [(A[i, r, s], old_y(i + 1, s)) for i in range(p) for s in range(outputs)]
        terms += [(B[j, r, s], old_x(j, s)) for j in range(q) for s in range(inputs)] + [(c[r], 1)]
        terms = sorted(((int(k), name) for k, name in terms if k), key=lambda term: term[0] < 0)
        used |= {name for _, name in terms}
        steps.append((ys[r], linear(terms)))
    start = {}
    for s in range(inputs):
        last = max((j for j in range(q) if old_x(j, s) in used), default=0)
        for j in range(last, 0, -1):
            start[old_x(j, s)] = 0
            steps.append((f"next_{old_x(j, s)}", old_x(j - 1, s)))
    for s in range(outputs):
        last = max((i + 1 for i in range(p) if old_y(i + 1, s) in used), default=0)
        for i in range(last, 0, -1):
            start[old_y(i, s)] = int(before[i - 1, s])
            steps.append((f"next_{old_y(i, s)}", old_y(i - 1, s) if i > 1 else ys[s]))
    return Program("affine", xs, start, tuple(steps), tuple(ys))
