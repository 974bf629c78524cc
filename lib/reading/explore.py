"""Explorables: sliders over pictures drawn in advance, so they move in the static page with no kernel and no network."""

from itertools import product

from ipywidgets import HTML, Label, Layout, SelectionSlider, Stack, VBox, jslink

from .figures import svg
from .progress import progress

FRAMES = 60  # at most: a page stays light


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def explore(draw, alt, /, start=None, **axes):
    """A widget of one or two sliders over the pictures that `draw` makes.

    Args:
        draw: called once for each combination of values, by keyword; returns a matplotlib figure.
        alt: alternative text of every frame; `{name}` stands for an axis's value.
        start: the values that it opens at, `{name: value}`, where something is to be seen; by default each axis's first.
        axes: one or two axes, each a sequence of values; at most 60 combinations together.

    Returns:
        A plain ipywidgets box: a slider per axis, linked in the browser (`jslink`) to the stack of frames. With two axes
        the stacks nest, so that each slider is linked to one index.

    Raises:
        ValueError: if there is no axis, more than two, an empty one, more than 60 frames, or a start that is on none.
    """
    axes = {name: list(values) for name, values in axes.items()}
    count = 1
    for values in axes.values():
        count *= len(values)
    if not 1 <= len(axes) <= 2 or not 1 <= count <= FRAMES:
        sizes = {name: len(values) for name, values in axes.items()}
        raise ValueError(f"axes = {sizes}: expected one or two axes with 1 to {FRAMES} frames together")

    opening = {name: values[0] for name, values in axes.items()} | (start or {})
    for name, value in opening.items():
        if name not in axes or value not in axes[name]:
            raise ValueError(f"start = {start}: expected values of the axes {axes}")
    at = [values.index(opening[name]) for name, values in axes.items()]

    frames = []
    for point in progress("frames")(list(product(*axes.values()))):
        values = dict(zip(axes, point, strict=True))
        label = alt.format(**{name: _text(value) for name, value in values.items()})
        frames.append(HTML(f'<figure class="plot">{svg(draw(**values), label)}</figure>', layout=Layout(width="100%")))

    sliders = [
        SelectionSlider(
            options=[(_text(v), i) for i, v in enumerate(values)],
            index=index,
            description=name.replace("_", " "),
            style={"description_width": "initial"},
            layout=Layout(width="100%"),
        )
        for index, (name, values) in zip(at, axes.items(), strict=True)
    ]
    last = len(list(axes.values())[-1])
    stacks = [Stack(frames[i : i + last], selected_index=at[-1]) for i in range(0, count, last)]
    for stack in stacks:
        jslink((sliders[-1], "index"), (stack, "selected_index"))
    if len(axes) == 2:
        outer = Stack(stacks, selected_index=at[0])
        jslink((sliders[0], "index"), (outer, "selected_index"))
        stacks = [outer]
    hint = Label("Drag a slider, or select it and use the arrow keys.")
    return VBox([*sliders, *stacks, hint]).add_class("explorable")
