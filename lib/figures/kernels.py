"""Drawings and tables of the page on kernels, from what `make bench` recorded."""

import json
from pathlib import Path

from IPython.display import Markdown

from lib.reading import BLUE, GREEN, GREY, INK, OCHRE, PINK, RED, figure, show

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
CHAPTERS = RESULTS.parent / "chapters.json"  # what `python -m benchmarks.chapters` recorded
PEERS = {  # implementation -> its name, colour and mark
    "loop": ("nn.Module, one by one", GREY, "v"),
    "vmap": ("torch.func.vmap", OCHRE, "s"),
    "graphs": ("vmap in a CUDA graph", INK, "P"),
    "compile": ("torch.compile of vmap", PINK, "D"),
    "jax": ("JAX vmap + scan", GREEN, "^"),
    "ours": ("this book", BLUE, "o"),
}
MEMBERS = 256  # where a table has one number of members only
BEFORE = {  # seconds on the wall, two chapters at a time on two cores, before there were kernels for minibatches, learned
    # points and rate networks; most claims then stood on one to three seeds
    "audits": 285, "brains": 197, "disempowerment": 49, "geneft": 185, "grokking": 227, "hypernetworks": 215, "lottery": 55,
    "mips": 325, "resource": 174, "truth": 227,
}  # fmt: skip
AIMS = {"rnn": 25, "mlp": 100}  # times faster than the plain loop, MLPs up to 32 hidden neurons only


class Bench:
    """One machine's record, on one core.

    Attributes:
        record: the whole of it, as `benchmarks/run.py` writes it.
        rows: by (shape, members, implementation).
        shapes, counts: what was measured, lists.
    """

    def __init__(self, record):
        self.record, self.shapes = record, list(record["shapes"])
        self.rows = {(r["shape"], r["members"], r["implementation"]): r for r in record["rows"] if r["threads"] == 1}
        self.counts = sorted({row["members"] for row in record["rows"]})

    def seconds(self, shape, members, peer):
        """CPU seconds of a net-step, or None if that was not timed."""
        row = self.rows.get((shape, members, peer))
        return row and row["seconds_per_net_step"]

    def operations(self, shape):
        """Of one step of one network."""
        work = self.record["shapes"][shape]
        return work["product_operations"] + work["other_operations"]

    def floor(self, shape):
        """Seconds that a step would take at the speed of a large matrix product, measured beside this shape if possible."""
        beside = (row["floor_seconds"] for row in self.record["rows"] if row["shape"] == shape)
        return next(beside, self.operations(shape) / self.record["matmul_operations_per_second"])

    def ratio(self, shape, peer, members=MEMBERS):
        """How many times faster than `peer` this book's kernels are, or None if one was not timed."""
        theirs, ours = (self.seconds(shape, members, name) for name in (peer, "ours"))
        return theirs / ours if theirs and ours else None

    def above_floor(self, shape):
        """How many times the floor this book's kernels take, or None."""
        ours = self.seconds(shape, MEMBERS, "ours")
        return ours and ours / self.floor(shape)


def benches():
    """All machines' records, the CPU first."""
    files = sorted(RESULTS.glob("*.json"), key=lambda path: (path.stem != "cpu", path.stem))
    return [Bench(json.loads(path.read_text())) for path in files]


def named(bench):
    """The machine, the date, the versions and the two rates, a sentence each."""
    record = bench.record
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items() if number)
    return (
        f"Measured on {record['machine']}, on {record['date']}, with {versions}. It reached "
        f"{record['matmul_operations_per_second'] / 1e9:.0f} billion operations a second in a large matrix product and "
        f"copied {record['copy_bytes_per_second'] / 1e9:.0f} GB of memory a second, read and written."
    )


def table(head, lines):
    """A Markdown table."""
    return Markdown("\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines]))


def speed(bench):
    """Time of a net-step against members, a panel for each shape."""
    rows = -(-len(bench.shapes) // 3)
    fig, axes = figure(rows, 3, width=7.6, height=2.3 * rows + 0.5, sharex=True, squeeze=False)
    for ax, shape in zip(axes.flat, bench.shapes, strict=False):
        for peer, (label, colour, marker) in PEERS.items():
            there = [n for n in bench.counts if bench.seconds(shape, n, peer)]
            if there:
                ax.plot(
                    there, [bench.seconds(shape, n, peer) * 1e6 for n in there], color=colour, marker=marker, label=label
                )
        ax.axhline(bench.floor(shape) * 1e6, color=RED, ls="--", lw=1.2, label="floor")
        ax.set(xscale="log", yscale="log", xticks=bench.counts, xticklabels=bench.counts, ylabel="µs a net-step")
        ax.set_title(shape.replace(", ", ",\n", 1), fontsize=8.5)
        ax.minorticks_off()
    for ax in axes[-1]:
        ax.set_xlabel("members")
    lines = {label: line for ax in axes.flat for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    for ax in axes.flat[len(bench.shapes) :]:
        ax.axis("off")
    fig.legend(lines.values(), lines, loc="outside lower center", ncols=3)
    said = "; ".join(
        f"{shape}: {bench.seconds(shape, MEMBERS, 'ours') * 1e6:.2g} µs by this book's kernels, "
        f"{bench.seconds(shape, MEMBERS, 'loop') * 1e6:.3g} µs by the plain loop"
        for shape in bench.shapes
        if bench.ratio(shape, "loop")
    )
    return show(
        fig, f"Time of one training step of one network against the number of members. At {MEMBERS} members, {said}."
    )


def skipped(bench):
    """What was planned and not measured, and why."""
    reasons = {}
    for entry in bench.record["skipped"]:
        shape = entry["shape"] + f" on {entry['threads']} cores" * (entry["threads"] > 1)
        counts = reasons.setdefault((entry["implementation"], entry["why"]), {}).setdefault(shape, [])
        counts.append(str(entry["members"]))
    if not reasons:
        return Markdown("Everything planned was measured.")
    lines = []
    for (peer, why), shapes in reasons.items():
        where = "; ".join(f"*{shape}* with {', '.join(counts)} members" for shape, counts in shapes.items())
        lines.append(f'- {PEERS[peer][0]}, because "{why}": {where}')
    return Markdown("Not measured:\n\n" + "\n".join(lines))


def memory(bench):
    """Peak memory in MB, at the fewest and the most members."""
    measured = [peer for peer in PEERS if any(key[2] == peer for key in bench.rows)]

    def megabytes(key):
        peak = bench.rows.get(key, {}).get("peak_bytes")
        return "" if peak is None else f"{peak / 1e6:.0f}"

    ends = [n for n in bench.counts if n in (bench.counts[0], bench.counts[-1])]
    lines = [[s, str(n), *(megabytes((s, n, peer)) for peer in measured)] for s in bench.shapes for n in ends]
    return table(["shape", "members", *(PEERS[peer][0] for peer in measured)], lines)


def cores(bench):
    """How many times faster on the wall this book's kernels are on all cores."""
    lines = []
    for row in bench.record["rows"]:
        alone = bench.rows.get((row["shape"], row["members"], "ours"))
        if row["threads"] > 1 and alone:
            gain = alone["wall_seconds_per_net_step"] / row["wall_seconds_per_net_step"]
            lines.append([row["shape"], str(row["members"]), str(row["threads"]), f"{gain:.2f}"])
    return table(["shape", "members", "cores", "times faster"], lines)


def roofline(bench):
    """Speed against operations a byte at 256 members, below the roof of this machine."""
    peak, copy = bench.record["matmul_operations_per_second"], bench.record["copy_bytes_per_second"]
    fig, ax = figure(width=7.2, height=3.6)
    intensity = [10 ** (k / 20) for k in range(71)]
    ax.plot(intensity, [min(peak, copy * i) / 1e9 for i in intensity], color=INK, label="roof: memory, then arithmetic")
    for shape, marker in zip(bench.shapes, "o^sDvP*Xh", strict=False):
        at = bench.operations(shape) / bench.record["shapes"][shape]["streamed_bytes"]
        for peer in ("ours", "jax", "vmap", "loop"):
            if seconds := bench.seconds(shape, MEMBERS, peer):
                label = shape if peer == "ours" else None
                rate = bench.operations(shape) / seconds / 1e9
                ax.plot(at, rate, marker=marker, color=PEERS[peer][1], ls="none", label=label)
    ax.set(xscale="log", yscale="log", ylabel="billion operations a second")
    ax.set_xlabel("operations a byte, if parameters and moments are streamed at every step")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    far = ", ".join(f"{s} {bench.above_floor(s):.1f} times" for s in bench.shapes if bench.above_floor(s))
    return show(
        fig,
        f"Roofline: speed against operations a byte at {MEMBERS} members. This book's kernels are above the floor: {far}.",
    )


def _said(value, aim=None, most=False):
    """A ratio, and whether it meets its aim: at least `aim`, or `most` at most."""
    if value is None:
        return "not measured"
    number = f"{value:.0f}" if value >= 100 else f"{value:.2g}"
    if aim is None:
        return number
    met = value <= aim if most else value >= aim
    return f"{number}, aim {'≤' if most else '≥'} {aim}: " + ("met" if met else "**missed**")


def aims(bench):
    """The aims that were set before the kernels were written, and what became of them."""
    lines = []
    for shape in bench.shapes:
        kernel = next((row["kernel"] for row in bench.record["rows"] if row["shape"] == shape), None)
        aim = AIMS.get(kernel)
        if kernel == "mlp" and int(shape.split("-")[1]) > 32:
            aim = None
        worst = min((r for n in bench.counts if (r := bench.ratio(shape, "jax", n))), default=None)
        ratios = _said(bench.ratio(shape, "loop"), aim), _said(bench.ratio(shape, "jax")), _said(worst, 1.5)
        lines.append([shape, *ratios, _said(bench.above_floor(shape), 4, most=True)])
    head = [f"times faster than the plain loop, {MEMBERS} members", f"than JAX, {MEMBERS} members"]
    return table(["shape", *head, "than JAX, at the worst number of members", f"times the floor, {MEMBERS} members"], lines)


def seconds(folder):
    """What papermill says that each executed chapter in `folder` took: {slug: seconds on the wall}, the longest last."""
    found = {}
    for path in Path(folder).glob("*.ipynb"):
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
        if path.stem in BEFORE and about.get("duration"):
            found[path.stem] = about["duration"]
    return dict(sorted(found.items(), key=lambda item: item[1]))


def minutes(folder):
    """Minutes that each chapter in `folder` took in this build, and at book scale before the last three kernels."""
    now = seconds(folder)
    fig, ax = figure(width=7.2, height=3.4)
    ax.barh(range(len(now)), [value / 60 for value in now.values()], color=BLUE, label="this build")
    ax.plot(
        [BEFORE[slug] / 60 for slug in now], range(len(now)), "|", color=RED, ms=14, mew=2.5, label="before, at book scale"
    )
    ax.set(yticks=range(len(now)), yticklabels=now, xlabel="minutes", xlim=(0, None))
    ax.legend(loc="lower right")
    said = "; ".join(f"{slug} {value:.0f} s, before {BEFORE[slug]}" for slug, value in now.items())
    return show(fig, f"Seconds that each chapter takes: {said}.")


def engines():
    """CPU seconds of whole chapters, with the fused kernels and with batched PyTorch in their place."""
    record = json.loads(CHAPTERS.read_text(encoding="utf-8"))
    lines = [
        [slug, f"{row['ours']:.0f}", f"{row['torch']:.0f}", f"{row['torch'] / row['ours']:.1f}"]
        for slug, row in record.items()
    ]
    return table(["chapter", "CPU seconds, fused kernels", "batched PyTorch", "times faster"], lines)
