import json
import re

import nbformat
import numpy as np
import pytest
from ipywidgets import Stack

from lib.reading import BLUE, INK, PALETTE, Claims, explore, figure, front, gallery, scoreboard, show
from lib.reading import claims as claims_module
from lib.reading.__main__ import main


def some_claims(scale="book"):
    claims = Claims("demo", scale)
    claims.add("up", "It goes up.", source="abstract", paper="1", here="1.1", predicate="0.9 <= x <= 1.2", x=1.1)
    claims.add(
        "down", "It <goes> down.", source="ours", paper="–", here="1.1", predicate="x < 1", x=1.1, finding="it does not"
    )
    return claims


def notebook(tmp_path, claims, name="demo", picture="<svg></svg>"):
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_markdown_cell(f"# Does {name} go up?"),
        nbformat.v4.new_code_cell("show()", metadata={"tags": ["gallery"]}),
        nbformat.v4.new_code_cell("claims"),
    ]
    nb.cells[1].outputs = [nbformat.v4.new_output("execute_result", {"text/html": picture})]
    nb.cells[2].outputs = [nbformat.v4.new_output("execute_result", claims._repr_mimebundle_())]
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


def test_verdicts_follow_the_printed_predicate():
    verdicts = [row["verdict"] for row in some_claims().rows]
    assert verdicts == ["holds", "does not hold"]
    assert [row["verdict"] for row in some_claims("smoke").rows] == ["not judged at this scale"] * 2


def test_a_measurement_that_is_not_a_number_does_not_hold():
    claims = Claims("demo", "book")
    claims.add("nan", "x", source="ours", paper="–", here="nan", predicate="0 <= x", x=float("nan"))
    assert claims["nan"]["verdict"] == "does not hold"


@pytest.mark.parametrize("predicate", ["y > 1", "x >", "x.y", "__import__('os')", "open('f')"])
def test_a_predicate_that_cannot_be_judged_is_refused(predicate):
    with pytest.raises(ValueError, match=r"^predicate = "):
        Claims("demo", "book").add("a", "a", source="ours", paper="–", here="1", predicate=predicate, x=1.0)


def test_a_predicate_may_look_at_its_values_from_inside_a_generator():
    claims = Claims("demo", "book")
    claims.add("all", "x", source="ours", paper="–", here="1", predicate="all(low <= x for x in xs)", xs=[1, 2], low=1)
    assert claims["all"]["verdict"] == "holds"


def test_a_name_is_used_once():
    claims = some_claims()
    with pytest.raises(ValueError, match=r"^name = 'up'"):
        claims.add("up", "again", source="ours", paper="–", here="1", predicate="x", x=1)


def test_the_table_is_text_with_words_and_signs():
    html = some_claims()._repr_mimebundle_()["text/html"]
    assert "✓ holds" in html
    assert "✗ does not hold" in html
    assert "It &lt;goes&gt; down." in html
    assert "Finding: it does not" in html
    assert html.count('scope="row"') == 2


def test_claims_are_read_back_from_notebooks(tmp_path):
    path = notebook(tmp_path, some_claims())
    rows = claims_module.read(path)
    assert rows == some_claims().rows
    assert set(claims_module.COLUMNS) <= set(rows[0])
    table = claims_module.frame([path, path])
    assert list(table["id"]) == ["demo/up", "demo/down"] * 2
    assert set(table["notebook"]) == {str(path)}


def test_the_gate_keeps_findings_and_catches_regressions(tmp_path, capsys):
    assert main([notebook(tmp_path, some_claims())]) == 0
    claims = some_claims()
    claims.add("worse", "It holds.", source="ours", paper="–", here="0", predicate="x > 1", x=0)
    assert main([notebook(tmp_path, claims)]) == 1
    assert "demo/worse: 0  <-- not declared as a finding" in capsys.readouterr().out
    assert main([notebook(tmp_path, Claims("demo", "book"))]) == 1


def test_front_page_counts_and_links_in_the_order_of_the_book(tmp_path, monkeypatch):
    notebook(tmp_path, some_claims(), "beta")
    notebook(tmp_path, some_claims("smoke"), "alpha")
    (tmp_path / "_toc.yml").write_text("parts: [{chapters: [{file: book/beta}, {file: book/absent}, {file: book/alpha}]}]")
    monkeypatch.setattr(front, "TOC", tmp_path / "_toc.yml")
    html = scoreboard(tmp_path)._repr_mimebundle_()["text/html"]
    assert html.index('href="beta.html"') < html.index('href="alpha.html"')
    assert "4 claims in 2 chapters" in html
    assert html.count("<td>1</td>") == 2
    listed = front.failures(tmp_path)._repr_mimebundle_()["text/html"]
    assert 'href="beta.html#claim-demo-down"' in listed
    assert "It &lt;goes&gt; down. Measured: 1.1. <em>it does not</em>." in listed
    assert listed.count("<li>") == 1
    cards = gallery(tmp_path)._repr_mimebundle_()["text/html"]
    assert cards.count("<a ") == 2
    assert cards.index("Does beta go up?") < cards.index("Does alpha go up?")


def luminance(color):
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("color", PALETTE)
@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_the_palette_reads_in_light_and_dark_mode(color, page):
    light, dark = sorted([luminance(color), luminance(page)], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_figures_take_the_pages_ink_and_carry_their_text():
    def make():
        fig, ax = figure()
        ax.plot([0, 1], color=INK)
        ax.plot([1, 0], color=BLUE)
        return show(fig, 'A line that goes "up" & one that goes down')._repr_mimebundle_()["text/html"]

    html = make()
    assert html == make()
    assert 'role="img" aria-label="A line that goes &quot;up&quot; &amp; one that goes down"' in html
    assert "currentColor" in html
    assert INK not in html
    assert BLUE in html
    assert "DejaVu" not in html


@pytest.mark.parametrize("alt", ["", "short", None])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(ValueError, match=r"^alt = "):
        show(figure()[0], alt)


def draw(**values):
    fig, ax = figure(width=3, height=2)
    ax.set_title(str(values))
    return fig


def test_one_axis_links_a_slider_to_a_stack():
    slider, stack, _ = explore(draw, "Frame {step}", step=[1, 10, 100]).children
    assert isinstance(stack, Stack)
    assert [label for label, _ in slider.options] == ["1", "10", "100"]
    assert [re.search('aria-label="([^"]*)"', frame.value)[1] for frame in stack.children] == [
        "Frame 1",
        "Frame 10",
        "Frame 100",
    ]


def test_two_axes_nest_their_stacks():
    first, second, outer, _ = explore(draw, "{a}{b}", a=[1, 2], b=["x", "y", "z"]).children
    assert len(first.options), len(second.options) == (2, 3)
    labels = [[re.search('aria-label="([^"]*)"', f.value)[1] for f in inner.children] for inner in outer.children]
    assert labels == [["1x", "1y", "1z"], ["2x", "2y", "2z"]]


@pytest.mark.parametrize(
    "axes", [{}, {"a": []}, {"a": range(61)}, {"a": range(8), "b": range(8)}, {"a": [1], "b": [1], "c": [1]}]
)
def test_explorables_stay_small(axes):
    with pytest.raises(ValueError, match=r"^axes = .*expected one or two axes with 1 to 60 frames"):
        explore(draw, "alt", **axes)


def test_claims_travel_as_json():
    bundle = some_claims()._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[claims_module.MIME])) == bundle[claims_module.MIME]
