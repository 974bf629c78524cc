"""What is timed: shapes, data and how much work one net-step is. A net-step is one training step of one network."""

from dataclasses import dataclass
from itertools import pairwise

import torch

ROWS = 200  # from which minibatches are drawn


@dataclass(frozen=True)
class Problem:
    """One shape of network with its data.

    Attributes:
        kernel: "mlp", "minibatches" (of 200 rows, cross-entropy), "embedding" (pairs of learned points, cross-entropy),
            "rnn" or "rate" (a rectified recurrence with noise and a price on weights, cross-entropy).
        shape: what a row calls it.
        sizes: layer sizes; for "rnn" and "rate" of the transition, whose inputs are the state and the data.
        readout: layer sizes of a recurrent network's read-out.
        points: points, pairs, or sequences.
        length: positions in a sequence.
    """

    kernel: str
    shape: str
    sizes: tuple
    points: int
    readout: tuple = ()
    length: int = 1

    def data(self, device):
        """x and y, the same for every implementation: a wave to fit, running sums of random sequences, or random classes."""
        rng = torch.Generator().manual_seed(0)
        if self.kernel == "mlp":
            x = torch.linspace(-1, 1, self.points)[:, None].to(device)
            return x, torch.sin(4 * x)
        if self.kernel == "minibatches":
            x = torch.randint(256, (ROWS, self.sizes[0]), generator=rng)
            return x.to(torch.uint8).to(device), torch.randint(self.sizes[-1], (ROWS,), generator=rng).to(device)
        if self.kernel == "embedding":
            x = torch.randint(self.sizes[-1], (self.points, 2), generator=rng)
            return x.to(device), (x.sum(1) % self.sizes[-1]).to(device)
        if self.kernel == "rate":
            x = torch.randn(self.points, self.length, self.sizes[0] - self.sizes[1], generator=rng)
            return x.to(device), torch.randint(self.readout[-1], x.shape[:2], generator=rng).to(device)
        x = torch.randn(self.points, self.length, 1, generator=torch.Generator().manual_seed(0)).to(device)
        return x, x.cumsum(1) / 3

    def products(self):
        """Floating-point operations in the matrix products of one net-step.

        A layer costs 2 operations a weight and point forward, 2 for the weight's derivative, and 2 for the input's,
        which the first layer does not need (a recurrent network's transition does, for its hidden part). The first layer
        on pairs of points is a sum of two rows of tables; the products that make the tables are not counted.
        """
        columns, total = self.points * self.length, 0
        for sizes in (self.sizes, self.readout):
            for depth, (i, o) in enumerate(pairwise(sizes)):
                if depth == 0 and self.kernel == "embedding":
                    continue
                inputs = 0 if depth == 0 and self.kernel in ("mlp", "minibatches") else i
                total += 2 * columns * o * (2 * i + inputs)
        return total

    def elementwise(self):
        """Other operations of one net-step: 30 an activation with its slope for SiLU (an exponential by a polynomial
        of degree 7, a division), 3 for ReLU; 4 an output; 14 a parameter for Adam."""
        hidden = sum(self.sizes[1:-1]) + sum(self.readout[1:-1])
        last = self.readout[-1] if self.readout else self.sizes[-1]
        each = 30 if self.kernel in ("mlp", "embedding") else 3
        return self.points * self.length * (each * hidden + 4 * last) + 14 * self.parameters()

    def parameters(self):
        """Parameters of one network."""
        table = self.sizes[-1] * self.sizes[0] // 2 if self.kernel == "embedding" else 0
        return table + sum((i + 1) * o for sizes in (self.sizes, self.readout) for i, o in pairwise(sizes))

    def traffic(self):
        """Bytes that must pass through main memory for one net-step if nothing is kept: parameters, two moments, read
        and written. A member that stays in the cache for many steps has almost none."""
        return 6 * 4 * self.parameters()


PROBLEMS = (
    Problem("mlp", "1-2-1, 32 points", (1, 2, 1), 32),
    Problem("mlp", "1-32-1, 128 points", (1, 32, 1), 128),
    Problem("mlp", "1-128-1, 128 points", (1, 128, 1), 128),
    Problem("mlp", "1-50-50-50-1, 128 points", (1, 50, 50, 50, 1), 128),
    Problem("minibatches", "272-128-64-21, 100 of 200", (272, 128, 64, 21), 100),
    Problem("embedding", "2 of 31 × 32, 64-100-100-31, 769", (64, 100, 100, 31), 769),
    Problem("rate", "100 units, 96 × 9", (137, 100), 96, (100, 9), 9),
    Problem("rate", "400 units, 96 × 9", (437, 400), 96, (400, 9), 9),
    Problem("rnn", "n=4 w=32, 128 × 10", (5, 32, 4), 128, (4, 32, 1), 10),
)
