"""Networks trained elsewhere: their weights from a file, as a `networks.Network`."""

import pickle
from pathlib import Path

import numpy as np
import torch

from ...checks import check
from .networks import Network

ARCHITECTURES = ("rnn-tanh", "rnn-relu", "mlp-relu", "mlp-tanh", "mlp-sigmoid")


def load(path):
    """The arrays in a .npz, .pt or .safetensors file, {name: array}; nothing in the file is run.

    Raises:
        ValueError: for another kind of file, or one that holds more than tensors.
    """
    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(array, np.float64) for name, array in arrays.items()}
    if path.suffix in (".pt", ".pth"):
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(f"path = {str(path)!r}: expected nothing but tensors in it") from error
        if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
            held = list(tensors) if isinstance(tensors, dict) else type(tensors).__name__
            raise ValueError(f"path = {str(path)!r}, which holds {held}: expected a state dictionary, from names to tensors")
        return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    raise ValueError(f"path = {str(path)!r}: expected a .npz, .pt or .safetensors file")


def _layers(arrays, what):
    """Layers ((W, b), …) of the arrays whose names end in weight, in order, each with the bias of its name, or none."""
    layers = []
    for name, W in arrays.items():
        if name.endswith("weight"):
            layers.append((W, arrays.get(name.removesuffix("weight") + "bias", np.zeros(len(W)))))
    if not layers:
        raise ValueError(f"arrays = {sorted(arrays)}: expected the weights of {what}")
    return tuple(layers)


def network(arrays, architecture, *, alphabet=None):
    """The `Network` with these arrays.

    Args:
        arrays: {name: array}. For "rnn-tanh" and "rnn-relu" those of a `torch.nn.RNN` of one layer (names that end in
            weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0) and of the linear layers after it. For "mlp-…" those of f, a
            multilayer perceptron of [h, x], under names that begin with "f." or "transition.", and those of g.
        architecture: one of `ARCHITECTURES`; the second word is the activation.
        alphabet: (smallest, largest) symbol if symbols go in as one-hot vectors; None for numbers.

    Raises:
        ValueError: if arrays are missing or their shapes do not fit.
    """
    check("architecture", architecture, set(ARCHITECTURES))
    kind, activation = architecture.split("-")
    if kind == "mlp":
        inside = {name: a for name, a in arrays.items() if name.split(".")[0] in ("f", "transition")}
        after = {name: a for name, a in arrays.items() if name not in inside}
        return Network(_layers(inside, "f"), _layers(after, "g"), activation=activation, alphabet=alphabet)
    cell = {name.rpartition(".")[2]: a for name, a in arrays.items() if name.endswith("_l0")}
    if not {"weight_ih_l0", "weight_hh_l0"} <= set(cell):
        raise ValueError(f"arrays = {sorted(arrays)}: expected weight_ih_l0 and weight_hh_l0")
    bias = sum((cell[name] for name in ("bias_ih_l0", "bias_hh_l0") if name in cell), np.zeros(len(cell["weight_hh_l0"])))
    step = np.concatenate([cell["weight_hh_l0"], cell["weight_ih_l0"]], 1)
    after = {name: a for name, a in arrays.items() if not name.endswith("_l0")}
    return Network(
        ((step, bias),),
        _layers(after, "the layers after the RNN"),
        activation=activation,
        last=activation,
        alphabet=alphabet,
    )
