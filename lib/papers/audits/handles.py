"""Access as types: an auditor holds a handle, and the handle's class decides what it may do. Every use is metered.

A handle speaks for a whole stack of models at once; a meter counts what one of them was asked. The handles keep an honest
auditor honest, as a laboratory notebook does: they are no wall against a program that inspects Python's own frames.
"""

from dataclasses import dataclass

import torch

from ...kernels.mlp import Regression
from ...kernels.optimisers import Adam
from ...kernels.training import train
from .zoo import decode


@dataclass
class Meter:
    """What one model was asked for: forward passes, input gradients, samples of training, bytes of records."""

    queries: int = 0
    gradients: int = 0
    trained: int = 0
    bytes: int = 0

    @property
    def forwards(self):
        """All computation in forward passes: a gradient, and a sample of training, cost three."""
        return self.queries + 3 * (self.gradients + self.trained)


class Black:
    """Black-box access: a label for an input."""

    __slots__ = ("_ask", "members", "meter")

    def __init__(self, stack, meter=None):
        """Speak for the networks of `stack`; a `meter` may be shared between handles."""
        self._ask, self.members, self.meter = stack.__call__, stack.members, meter or Meter()

    def _forward(self, x):
        self.meter.queries += x.shape[-2]
        with torch.no_grad():
            return self._ask(x.detach())

    def labels(self, x):
        """Most likely class (members, P), int64, of inputs x, (P, INPUTS) or (members, P, INPUTS)."""
        return self._forward(x).argmax(2)


class Grey(Black):
    """Grey-box access: the scores behind the label as well."""

    __slots__ = ()

    def logits(self, x):
        """Scores (members, P, 21), without a graph."""
        return self._forward(x)


class Remote(Grey):
    """De facto white-box access through an interface: gradients, activations and training jobs, but never the weights."""

    __slots__ = ("_stack",)

    def __init__(self, stack, meter=None):
        super().__init__(stack, meter)
        self._stack = stack

    def gradient(self, x, objective):
        """An objective and its gradient by the inputs.

        Args:
            x: inputs (members, P, INPUTS).
            objective: function of the logits (members, P, 21), giving a number for each input, (members, P).

        Returns:
            values (members, P) and gradients (members, P, INPUTS).
        """
        self.meter.gradients += x.shape[1]
        x = x.detach().requires_grad_()
        values = objective(self._ask(x))
        return values.detach(), torch.autograd.grad(values.sum(), x)[0]

    def hidden(self, x):
        """Activations of the last hidden layer, (members, P, 64)."""
        self.meter.queries += x.shape[-2]
        h = x.expand(self.members, -1, -1)
        for W, b in self._stack.layers()[0][:-1]:
            h = torch.baddbmm(b[:, None], h, W.mT).relu_()
        return h

    def tuned(self, x, y, steps, rate=1e-3):
        """A handle of the same kind on the models after `steps` full-batch steps of Adam on x (…, P, INPUTS), y (…, P)."""
        self.meter.trained += steps * x.shape[-2]
        run = train(Regression(self._stack, x, y, "cross_entropy"), Adam(rate), steps)
        return type(self)(run.problem.stack, self.meter)


class White(Remote):
    """White-box access: the weights too."""

    __slots__ = ()

    @property
    def stack(self):
        """The networks themselves."""
        return self._stack


class Rounded(Grey):
    """A grey interface that gives probabilities rounded to some decimals."""

    __slots__ = ("decimals",)

    def __init__(self, stack, decimals, meter=None):
        super().__init__(stack, meter)
        self.decimals = decimals

    def logits(self, x):
        """Logarithms of the rounded probabilities (members, P, 21); what is rounded to 0 counts as 1e-12."""
        return super().logits(x).softmax(2).round(decimals=self.decimals).clamp(min=1e-12).log()


class Outside:
    """Outside-the-box access: the developer's records, here the training data. It comes on top of any other access."""

    __slots__ = ("_zoo", "members", "meter")

    def __init__(self, zoo, members, meter=None):
        self._zoo, self.members, self.meter = zoo, members, meter or Meter()

    def data(self, index):
        """Training inputs (N, INPUTS) and labels (N,) of the model number `index` of this handle."""
        i = self.members[index]
        n = int(self._zoo.counts[i])
        self.meter.bytes += n * (self._zoo.x.shape[2] + 1)
        return decode(self._zoo.x[i, :n]), self._zoo.y[i, :n]
