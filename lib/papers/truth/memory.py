"""What a model has read before, kept on disk between runs by a hash of the model and of the text.

Nothing is kept unless the environment variable `BLACKBOX_CACHE` names a folder. Files are safetensors, which hold numbers
and no code; one that cannot be read is made again.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

VARIABLE = "BLACKBOX_CACHE"
VERSION = "2"  # of what `Language` makes of a text; another number forgets all that was kept


def folder() -> Path | None:
    """Where states are kept, or None."""
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named).expanduser() / "truth" if named else None


def fingerprint(tensors: Iterable[Tensor | None]) -> str:
    """A hash of numbers, shapes and types, and of the libraries that compute with them; None stands for itself."""
    found = hashlib.blake2b(" ".join((VERSION, torch.__version__, version("transformers"))).encode(), digest_size=20)
    for tensor in tensors:
        if tensor is None:
            found.update(b"none")
            continue
        found.update(f"{tensor.dtype} {tuple(tensor.shape)} {tensor.device.type}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def recall(key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What is kept under `key`, or else what `make` gives, which is then kept."""
    where = folder()
    if where is None:
        return make()
    file = where / f"{key}.safetensors"
    try:
        return load(file.read_bytes())  # not mapped: the file may change while its numbers are in use
    except (OSError, SafetensorError):
        found = {name: tensor.cpu().contiguous() for name, tensor in make().items()}
    where.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    save_file(found, part)
    part.replace(file)
    return found
