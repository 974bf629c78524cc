"""One recurrent network on whole numbers: how it reads symbols, what it answers, and the freedom in its weights."""

import functools
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int, Real

from ...checks import check
from ...kernels.rnn import Recurrent

ACTIVATIONS = {
    "relu": lambda h: np.maximum(h, 0),
    "tanh": np.tanh,
    "sigmoid": lambda h: 0.5 + 0.5 * np.tanh(h / 2),
    "none": lambda h: h,
}
PART = 1024  # sequences answered at once, so that they fit the cache


def as_array(name, value, dims):
    """`value` as a finite floating array with `dims` dimensions (float32 stays), or a ValueError that names it."""
    array = np.asarray(value)
    array = array if array.dtype == np.float32 else array.astype(np.float64)
    if array.ndim != dims or not array.size:
        raise ValueError(f"{name} = array of shape {array.shape}: expected {dims} dimensions, none empty")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} = {array[~np.isfinite(array)][0]} among its values: expected finite numbers")
    return array


@dataclass(frozen=True)
class Network:
    """One recurrent network: h_t = f([h_{t-1}, x_t]), y_t = g(h_t), f and g multilayer perceptrons.

    Attributes:
        transition: layers ((W (out, in), b (out,)), …) of f; the first takes n hidden units, then d inputs.
        readout: layers of g.
        start: h_0, shape (n,); None for zeros.
        activation: "relu", "tanh" or "sigmoid", between the layers.
        last: activation after f's last layer, "none" but for networks such as `torch.nn.RNN`; g ends without one.
        alphabet: (smallest, largest) symbol if each symbol goes in as a one-hot vector; None if it goes in as a number.
    """

    transition: tuple
    readout: tuple
    start: np.ndarray | None = None
    activation: str = "relu"
    last: str = "none"
    alphabet: tuple | None = None

    def __post_init__(self):
        check("activation", self.activation, set(ACTIVATIONS))
        check("last", self.last, set(ACTIVATIONS))
        for name in ("transition", "readout"):
            layers = [(as_array(f"{name} W", W, 2), as_array(f"{name} b", b, 1)) for W, b in getattr(self, name)]
            shapes = [W.shape for W, _ in layers]
            chained = all(a[0] == b[1] for a, b in pairwise(shapes))
            if not layers or not chained or any(len(b) != len(W) for W, b in layers):
                raise ValueError(f"{name} = layers of shapes {shapes}: expected each to take what the one before gives")
            object.__setattr__(self, name, tuple(layers))
        n, width = len(self.transition[-1][0]), self.transition[0][0].shape[1]
        if width <= n:
            raise ValueError(f"transition = {width} inputs: expected more than the {n} hidden units")
        if self.readout[0][0].shape[1] != n:
            raise ValueError(f"readout = {self.readout[0][0].shape[1]} inputs: expected the {n} hidden units")
        start = np.zeros(n, self.transition[0][0].dtype) if self.start is None else as_array("start", self.start, 1)
        if len(start) != n:
            raise ValueError(f"start = array of shape {start.shape}: expected ({n},)")
        object.__setattr__(self, "start", start)

    @property
    def size(self):
        """Hidden units n."""
        return len(self.start)

    @property
    def affine(self):
        """Whether f and g have one layer each, no activation, and read numbers."""
        return len(self.transition) == len(self.readout) == 1 and self.last == "none" and self.alphabet is None

    @functools.cached_property
    def weights(self):
        """W (n, n), U (n, d), b (n,), V (o, n), c (o,): h' = W h + U x + b, y = V h + c.

        Exact for affine networks; otherwise W and U are products of f's weights with the activations ignored, b is the bias
        of f's last layer, and V, c are g's first layer.
        """
        whole = functools.reduce(lambda product, layer: layer[0] @ product, self.transition[1:], self.transition[0][0])
        return whole[:, : self.size], whole[:, self.size :], self.transition[-1][1], *self.readout[0]

    def encode(self, x):
        """Symbols x (…, inputs), whole numbers, as f reads them (…, d)."""
        if self.alphabet is None:
            return np.asarray(x).astype(self.start.dtype)
        hot = np.asarray(x)[..., None] == np.arange(self.alphabet[0], self.alphabet[1] + 1)
        return hot.reshape(*hot.shape[:-2], -1).astype(self.start.dtype)

    def _mlp(self, layers, h):
        for depth, (W, b) in enumerate(layers):
            h = (ACTIVATIONS[self.activation](h) if depth else h) @ W.T + b
        return h

    def step(
        self, h: Float[np.ndarray, "*batch hidden"], x: Real[np.ndarray, "*batch inputs"]
    ) -> Float[np.ndarray, "*batch hidden"]:
        """States (…, n) after the symbols x (…, inputs) in the states h (…, n)."""
        return self._next(h, self.encode(x))

    def _next(self, h, encoded):
        return ACTIVATIONS[self.last](self._mlp(self.transition, np.concatenate([h, encoded], -1)))

    def read(self, h: Float[np.ndarray, "*batch hidden"]) -> Float[np.ndarray, "*batch outputs"]:
        """Outputs (…, o), not rounded, in the states h (…, n)."""
        return self._mlp(self.readout, h)

    def states(self, x: Int[np.ndarray, "sequences times inputs"]) -> Float[np.ndarray, "sequences times hidden"]:
        """Hidden states h_1 … h_T (N, T, n) on the sequences x (N, T, inputs)."""
        encoded = self.encode(as_array("x", x, 3))
        h, states = np.broadcast_to(self.start, (len(x), self.size)), []
        for t in range(encoded.shape[1]):
            h = self._next(h, encoded[:, t])
            states.append(h)
        return np.stack(states, 1)

    def outputs(self, x: Int[np.ndarray, "sequences times inputs"]) -> Float[np.ndarray, "sequences times outputs"]:
        """Outputs (N, T, o), not rounded, on the sequences x (N, T, inputs)."""
        return self.read(self.states(x))

    def __call__(self, x: Int[np.ndarray, "sequences times inputs"]) -> Int[np.ndarray, "sequences times outputs"]:
        """Answers (N, T, o), the outputs rounded, int64, to the sequences x (N, T, inputs)."""
        parts = np.array_split(x, -(-len(x) // PART))
        return np.concatenate([np.rint(self.outputs(part)).astype(np.int64) for part in parts])

    def change(self, A: Float[np.ndarray, "hidden hidden"], shift: float | Float[np.ndarray, " hidden"] = 0.0) -> "Network":
        """The same function with hidden states A h + shift, for an invertible A (n, n): the affine symmetry.

        Raises:
            ValueError: if f ends in an activation, since there is no such symmetry then.
        """
        if self.last != "none":
            raise ValueError(f"last = {self.last!r}: expected a transition that ends in a linear layer")
        inverse = np.linalg.inv(A)
        shift = np.zeros(self.size) + shift

        def undo(layers):
            (W, b), *rest = layers
            W = np.concatenate([W[:, : self.size] @ inverse, W[:, self.size :]], 1)
            return [(W, b - W[:, : self.size] @ shift), *rest]

        *first, (W, b) = undo(self.transition)
        transition = (*first, (A @ W, A @ b + shift))
        return replace(self, transition=transition, readout=tuple(undo(self.readout)), start=A @ self.start + shift)


def network(
    stack: Recurrent, member: int, x_unit: float = 1.0, y_unit: float = 1.0, alphabet: tuple[int, int] | None = None
) -> Network:
    """One member of a `kernels.rnn.Recurrent` as a `Network` on plain inputs and outputs, in float64.

    The stack saw inputs x / x_unit (or one-hot vectors of the `alphabet`) and learned targets y / y_unit; the units go into
    the weights. Hidden states are multiplied by x_unit too, so that reading a 1 moves them as far as it would in a network
    trained on plain inputs.
    """
    transition, readout = ([(W[member].double().cpu().numpy(), b[member].double().cpu().numpy()) for W, b in part]
                           for part in stack.layers())  # fmt: skip
    n = stack.transition[-1]
    (W, b), *rest = transition
    transition = [(np.concatenate([W[:, :n], W[:, n:] / x_unit], 1), b), *rest]
    *rest, (W, b) = readout
    readout = (*rest, (W * y_unit, b * y_unit))
    net = Network(tuple(transition), readout, activation=stack.activation, alphabet=alphabet)
    return net.change(x_unit * np.eye(n)) if x_unit != 1 else net
