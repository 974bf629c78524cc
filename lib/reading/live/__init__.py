"""Live scenes: networks that train in the page itself, by the book's own kernels, with no Python and no server."""

import base64
import functools
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
from IPython.display import HTML, display
from jaxtyping import Float
from traitlets import Bytes, Dict, Int, Unicode

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "kernels/fused/engine.wasm"
SCENES = HERE.parents[2] / "book/live"
WITHOUT = (
    "<noscript><p>With JavaScript, networks train here in the page. The figures below show what they do.</p></noscript>"
)


@functools.cache
def module(slug: str) -> str:
    """The ES module of a scene: the engine, what all scenes share, and the scene itself.

    Raises:
        ValueError: if there is no such scene.
    """
    scenes = sorted(path.stem for path in SCENES.glob("*.js"))
    if slug not in scenes:
        raise ValueError(f"slug = {slug!r}: expected one of {', '.join(scenes)}")
    engine, plot, widget = ((HERE / f"{name}.js").read_text() for name in ("engine", "plot", "widget"))
    scene = (SCENES / f"{slug}.js").read_text().replace("export default", "return", 1)
    kernels = base64.b64encode(ENGINE.read_bytes()).decode()
    return f'const ENGINE = "{kernels}";\n{engine}{plot}const SCENE = (() => {{\n{scene}}})();\n{widget}'


class Scene(anywidget.AnyWidget):
    """A live scene on a page or in a notebook.

    Attributes:
        settings: what its controls say, by name. In a notebook they can be set, too: the training begins again.
        weights: the packed parameters of all networks, float32, as they were when the reader last paused.
        updates: how many updates they had had.
    """

    _esm = Unicode().tag(sync=True)
    _css = Unicode((HERE / "widget.css").read_text()).tag(sync=True)
    slug = Unicode().tag(sync=True)
    settings = Dict().tag(sync=True)
    data = Dict().tag(sync=True)
    weights = Bytes().tag(sync=True, from_json=lambda value, scene: bytes(value))
    updates = Int().tag(sync=True)

    def theta(self) -> Float[np.ndarray, " total"]:
        """The parameters that the reader has trained, as a kernel's `theta` holds them, float32.

        Raises:
            ValueError: if nothing has been trained yet.
        """
        if not self.weights:
            raise ValueError(f"weights = none: expected a scene that has trained: press Pause in {self.slug!r} first")
        return np.frombuffer(self.weights, "<f4").copy()


def live(slug: str, data: dict[str, Any] | None = None, **settings: Any) -> Scene:
    """The live scene `book/live/<slug>.js`: the last expression of a cell, once on a page.

    Args:
        slug: which.
        data: what the scene needs from Python: plain values, or arrays (float32, float64, int32 or uint8).
        settings: first values of its controls; the page refuses names and values that it does not offer.

    Raises:
        ValueError: if there is no such scene.
    """
    arrays = {
        name: {"dtype": str(value.dtype), "shape": list(value.shape), "bytes": np.ascontiguousarray(value).tobytes()}
        if isinstance(value, np.ndarray)
        else value
        for name, value in (data or {}).items()
    }
    display(HTML(WITHOUT))
    return Scene(_esm=module(slug), slug=slug, settings=settings, data=arrays)
