"""Whole-number names for the states of a machine: what the network will answer, or, if a state tells it, what was read."""

import numpy as np

from .machine import continuations

MOST = 10  # sets of labels of one size that are tried


def _first(hits):
    """The first step (…,) counted from 1 at which hits (…, T) is true; T + 1 if there is none."""
    return np.where(hits.any(-1), hits.argmax(-1), hits.shape[-1]) + 1


def memories(machine):
    """The symbols that were read one, two, three steps before, {what: (states,)}, as far back as a state tells them.

    Where all arrows into a state carry one symbol the state knows the last symbol; zeros count as read before the start.
    """
    found, carried = {}, np.broadcast_to(machine.symbols, (*machine.moves.shape, machine.symbols.shape[1]))
    for k in range(1, 4):
        values = np.zeros((len(machine), machine.symbols.shape[1]), np.int64)
        values[machine.moves] = carried
        if values[0].any() or (values[machine.moves] != carried).any():
            break
        found |= {f"symbol {k} step{'s' * (k > 1)} before" + (f", {i}" if i else ""): v for i, v in enumerate(values.T)}
        carried = np.broadcast_to(values[:, None], carried.shape)
    return found


def predictions(net, machine, task):
    """Integer names of the states: {what it means: (states,)}, simple ones first, no two alike up to dense rank.

    The symbols read last, if a state tells them; the answers after one, two or three symbols, sums over symbols, the symbol
    with the largest answer, how many of the next answers are 1, when an answer first comes if one symbol is repeated (after
    another, or not) and differences of those, the answers to zeros read as a binary number, and the rank of each of these.
    """
    h, symbols = machine.hidden, machine.symbols
    zero = int(np.abs(symbols).sum(1).argmin())
    spread = np.unique(np.concatenate([[zero], np.linspace(0, len(symbols) - 1, 12).astype(int)]))
    spread = [zero, *[s for s in spread if s != zero]]
    show = lambda rows: " ".join(",".join(map(str, r)) for r in symbols[rows])  # noqa: E731
    found = memories(machine)
    for o in range(machine.answers.shape[2]):
        answers = machine.answers[:, :, o]
        for s in spread:
            found[f"answer to {show([s])}"] = answers[:, s]
        found["symbol with the largest answer"] = answers.argmax(1)
        found["sum of the answers to all symbols"] = answers.sum(1)
        if len(symbols) <= 8:
            short = [(a, b) for a in spread for b in spread]
            short += [(a, b, c) for a, b in short for c in spread] if len(symbols) <= 2 else []
            for word in short:
                found[f"answer after {show(list(word))}"] = continuations(net, h, symbols[list(word)][None])[:, 0, -1, o]
        few = spread[:: max(1, len(spread) // 6)] if len(spread) > 8 else spread
        runs = {f"{show([s])} repeated": symbols[[s] * task.T] for s in [*few, len(symbols) - 1]}
        if len(symbols) <= 4:
            runs |= {f"{show([r])} then {show([s])} repeated": symbols[[r] + [s] * task.T] for r in spread for s in spread}
        long = {name: continuations(net, h, word[None])[:, 0, :, o] for name, word in runs.items()}
        times = {}
        for name, out in long.items():
            values = np.unique(out)[:3] if len(np.unique(out)) <= 8 else []
            for value in values:
                times[f"steps until the answer is {value} with {name}"] = _first(out == value)
                times[f"steps until the answer is {value} with {name}, 0 if never"] = _first(out == value) % (
                    out.shape[1] + 1
                )
            if len(values):
                found[f"sum of the answers to {name}"] = out.sum(1)
        found |= times
        keys = [k for k in times if not k.endswith("never")]
        if len(symbols) <= 2:
            found |= {f"{a} minus {b}": times[a] - times[b] for i, a in enumerate(keys) for b in keys[:i]}
        zeros = long[f"{show([zero])} repeated"]
        if set(np.unique(zeros)) <= {0, 1}:
            for m in (2, 3, 4):
                found[f"answers to {m} zeros as a binary number"] = zeros[:, :m] @ 2 ** np.arange(m)[::-1]
    kept, seen = {}, set()
    for name, values in found.items():
        rank = np.unique(values, return_inverse=True)[1].reshape(-1)
        for title, vector in ((name, values), (f"rank of the {name}", rank)):
            if vector.tobytes() not in seen and len(np.unique(vector)) > 1:
                seen.add(vector.tobytes())
                kept[title] = vector.astype(np.int64)
    return kept


def choices(labels, states):
    """Sets of one, two or three labels that tell all states apart, as lists of names, in the order in which to try them."""
    names = list(labels)
    reach = {n: int(np.ptp(labels[n])) for n in names}
    distinct = lambda group: len(np.unique(np.stack([labels[n] for n in group]), axis=1).T) == states  # noqa: E731
    if states == 1:
        return [()]
    read = [n for n in names if n.startswith("symbol ") and n.endswith("before")]
    short = next((tuple(read[:k]) for k in range(1, len(read) + 1) if distinct(read[:k])), None)
    single = sorted((n for n in names if distinct([n])), key=lambda n: (reach[n], abs(int(labels[n].min()))))
    single = single[:MOST]
    small = [n for n in names if reach[n] <= max(3, states // 2)][:40]
    pairs = [(a, b) for i, a in enumerate(small) for b in small[:i] if distinct([a, b])]
    pairs = sorted(pairs, key=lambda pair: (not set(read) & {*pair}, sum(reach[n] for n in pair)))[:MOST]
    triples = []
    if not pairs and states <= 64:
        tiny = [n for n in small if reach[n] <= 3][:20]
        triples = [
            (a, b, c) for i, a in enumerate(tiny) for j, b in enumerate(tiny[:i]) for c in tiny[:j] if distinct([a, b, c])
        ]
    return [short] * (short is not None) + [(n,) for n in single] + pairs + triples[:MOST]
