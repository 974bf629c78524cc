"""A chapter's parameters, checked before any work starts."""

import ast
from typing import get_args, get_origin

from ..checks import check, nearest

SCALES = {"smoke", "book", "paper"}
DEVICES = {"cpu", "cuda"}


def _kind(annotation):
    """What `checks.check` calls the annotation of a parameter: `list[int]` is `[int]`."""
    return list(get_args(annotation)) if get_origin(annotation) is list else annotation


def _given(sources):
    """Names that papermill's cell gives values to, among the `sources` (texts) of the cells run so far."""
    trees = [ast.parse(source) for source in sources if source.startswith("# Parameters")]
    return [target.id for tree in trees for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]


def parameters(namespace):
    """Check the annotated parameters of a notebook: `need = parameters(globals())`, once, in its first cell of work.

    Every parameter must be of the type it is annotated with (`int`, `float`, `bool`, `str`, or a `list` of one of these),
    `scale`, `device` and `seed` must be possible, and papermill must have been given no name that is not a parameter:
    it passes such a name on with no more than a warning.

    Args:
        namespace: the notebook's `globals()`.

    Returns:
        `need(names, kind=None, **bounds)`, which checks the parameters named in the text `names` as `checks.check` does;
        `kind` is a set of allowed texts, and by default the annotation.

    Raises:
        ValueError: naming the parameter, its value and what was expected.
    """
    known = namespace.get("__annotations__", {})

    def need(names, kind=None, **bounds):
        for name in names.split():
            if name not in known:
                raise ValueError(f"names = {names!r}: expected annotated parameters, {name} is none")
            value, expected = namespace[name], kind or _kind(known[name])
            try:
                check(name, value, expected, **bounds)
            except ValueError as fault:
                if isinstance(value, str) and known[name] is not str:  # -p makes a text of all but plain numbers
                    raise ValueError(f"{fault} (with papermill: -y '{name}: …', which reads YAML)") from None
                raise

    sources = [source for source in namespace.get("In", []) if source]
    if sources and sources[0].startswith("# Parameters"):  # papermill puts it behind the defaults if it knows them
        raise ValueError("parameters are given before their defaults: expected the tag `parameters` on the first cell")
    for name in _given(sources):
        if name not in known:
            near = nearest(name, known)
            raise ValueError(f"{name} = {namespace[name]!r}: expected a parameter of this chapter, the nearest is {near}")
    for name in known:
        need(name, {"scale": SCALES, "device": DEVICES}.get(name), **({"low": 0} if name == "seed" else {}))
    if namespace.get("device") == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("device = 'cuda': expected cpu, as torch finds no CUDA device here")
    return need
