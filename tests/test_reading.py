import itertools
import json
import re
from html import unescape

import nbformat
import numpy as np
import pytest
import torch
from conftest import CHAPTERS
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from matplotlib.text import Text

import lib.reading.__main__ as main_module
import lib.reading.ledger as ledger_module
from lib.reading import (
    BLUE,
    INK,
    PALETTE,
    Claims,
    between,
    conditions,
    each,
    ensure,
    exact,
    explore,
    figure,
    front,
    gallery,
    given,
    implied,
    interval,
    layout,
    ours,
    paper,
    parameters,
    sample,
    scoreboard,
    show,
    verdicts,
)
from lib.reading import claims as claims_module
from lib.reading.cards import sketch
from lib.reading.conditions import (
    argued,
    every,
    explains,
    left_out,
    less,
    linear,
    more,
    most,
    near,
    nearly_all,
    none,
    same,
    slope,
)  # fmt: skip


def some_claims(scale="book"):
    claims = Claims("demo", scale)
    claims.judge("up", "It goes up.", paper("abstract", "1"), near(1), exact(x=1.1))
    claims.judge("down", "It <goes> down.", ours(), less(1), exact(x=1.1))
    claims.judge("open", "It is up.", implied("the title"), more(0), sample(x=[-1.0, 1.0, -1.0, 1.0, 0.1]))
    return claims


def notebook(tmp_path, claims, name="demo"):
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_markdown_cell(f"# Does {name} go up?\n\n*The Book of {name}* {{cite}}`{name}2024`"),
        *(nbformat.v4.new_code_cell(f"claims.judge({row['id']!r}, …)") for row in claims.rows),
        nbformat.v4.new_code_cell("claims"),
    ]
    shown = [*map(claims_module.Verdict, claims.rows), claims]
    for cell, output in zip(nb.cells[1:], shown, strict=True):
        cell.outputs = [nbformat.v4.new_output("execute_result", output._repr_mimebundle_())]
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


def judged(condition, *samples, scale="book", **options):
    """The record of one claim."""
    return Claims("demo", scale).judge("a", "It is so.", ours(), condition, *samples, **options).row


def test_the_five_verdicts():
    unsure, sure = sample(x=[-1.0, 1.0, -1.0, 1.0, 0.1]), sample(x=[1.0, 1.1, 0.9, 1.0, 1.2])
    assert judged(more(0), sure)["verdict"] == "holds"
    assert judged(less(0), sure)["verdict"] == "does not hold"
    assert judged(more(0), unsure)["verdict"] == "undecided"
    assert judged(more(0), sure, premise=given("it rests", less(0), sure))["verdict"] == "conditions not met"
    assert judged(more(0), sure, premise=given("it rests", less(0), unsure))["verdict"] == "conditions not met"
    assert (
        judged(more(0), sure, premise=(given("it runs", more(0), sure), given("so", near(1), exact(y=1.05))))["verdict"]
        == "holds"
    )
    unknown = judged(more(0), sample(x=[1.0, 1.0, 1.0, 1.0, float("nan")]))
    assert unknown["verdict"] == "conditions not met"
    assert json.loads(json.dumps(unknown, allow_nan=False))["values"] == {"x": [None]}
    assert judged(more(0), sure, scale="smoke")["verdict"] == "not judged at this scale"


@pytest.mark.parametrize(
    ("condition", "values", "verdict", "text"),
    [
        (slope(4), {"a": 4.14}, "holds", "a within 0.15 of 4"),
        (slope(4), {"a": 3.84}, "does not hold", "a within 0.15 of 4"),
        (slope(4, 2, 1), {"a": [4.14, 1.9, 1.1]}, "holds", "a within 0.15 of 4, 2, 1"),
        (slope(4, 2, 1), {"a": [4.14, 1.8, 1.1]}, "does not hold", "a within 0.15 of 4, 2, 1"),
        (near(-2), {"a": -2.3}, "holds", "a within 15% of -2"),
        (near(-2), {"a": 2.0}, "does not hold", "a within 15% of -2"),
        (more(), {"a": 2.0, "b": 1.0}, "holds", "a > b"),
        (less(), {"a": 2.0, "b": 1.0}, "does not hold", "a < b"),
        (more(1), {"a": 1.0}, "does not hold", "a > 1"),
        (same(), {"a": [1.0, 1.1], "b": 1.15}, "holds", "largest − smallest of a, b ≤ 15% of their mean"),
        (same(), {"a": [1.0, 1.2]}, "does not hold", "largest − smallest of a ≤ 15% of their mean"),
        (same(absolute=True), {"a": 0.2, "b": 0.34}, "holds", "largest − smallest of a, b ≤ 0.15"),
        (most(), {"a": 0.5}, "does not hold", "a > 1/2"),
        (nearly_all(), {"a": [0.9, 1.0]}, "holds", "a ≥ 0.9"),
        (nearly_all(), {"a": [0.89, 1.0]}, "does not hold", "a ≥ 0.9"),
        (every(), {"a": 0.999}, "does not hold", "a = 1"),
        (none(), {"a": 0.0}, "holds", "a = 0"),
        (linear(), {"line": 1.1, "curve": 1.0}, "holds", "line ≤ 1.15 × curve"),
        (explains(), {"ours": 0.6, "theirs": 0.7}, "does not hold", "ours > 1/2 and ours > theirs"),
        (explains(), {"ours": 0.6, "theirs": 0.2}, "holds", "ours > 1/2 and ours > theirs"),
        (argued("(a < 1) & (b > 1)", names="a b", because="the table has no line for two bounds"), {"a": 0.0, "b": 2.0},
         "holds", "(a < 1) & (b > 1) (the table has no line for two bounds)"),
    ],
)  # fmt: skip
def test_the_printed_condition_is_the_one_that_decides(condition, values, verdict, text):
    row = judged(condition, exact(**values), value=lambda **q: q)
    assert row["verdict"] == verdict
    assert row["condition"] == text
    assert row["units"] == "not random"


def wrongly_held(condition, draws):
    """Share of the data sets in `draws` (repeats, units) for which a claim that is false is said to hold."""
    return sum(judged(condition, sample(x=units))["verdict"] == "holds" for units in draws) / len(draws)


@pytest.mark.parametrize("units", [5, 8, 16])
@pytest.mark.parametrize(("bias", "condition"), [(0.5, most()), (0.899, nearly_all())])
def test_a_coin_is_seldom_trusted_wrongly(units, bias, condition):
    coin = torch.rand(400, units, generator=torch.Generator().manual_seed(units)) < bias
    assert wrongly_held(condition, coin) <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize("units", [5, 16])
def test_a_difference_of_nothing_is_seldom_trusted(units):
    noise = torch.randn(400, units, generator=torch.Generator().manual_seed(units))
    share = wrongly_held(more(0), noise)
    assert 0.01 < share <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5, "a test that never errs has no power"


@given_(st.lists(st.floats(-5, 5), min_size=5, max_size=9), st.randoms())
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_units_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    first, second = (judged(more(1), sample(x=v)) for v in (values, shuffled))
    assert first["verdict"] == second["verdict"]
    assert first["share"] == second["share"]
    assert first["low"]["x"] == pytest.approx(second["low"]["x"], abs=1e-12)


def test_more_units_of_the_same_kind_narrow_the_interval():
    noise = torch.randn(64, generator=torch.Generator().manual_seed(0))
    noise = (noise - noise.mean()) / noise.std()
    widths = []
    for copies in (1, 4, 16):
        row = judged(more(0), sample(x=noise[:8].repeat(copies)))
        widths.append(row["high"]["x"][0] - row["low"]["x"][0])
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_what_was_measured_on_the_same_units_is_resampled_together():
    base = torch.randn(12, generator=torch.Generator().manual_seed(0))
    pair = {"a": 10 * base + 0.1, "b": 10 * base}
    assert judged(more(), sample(**pair))["verdict"] == "holds"
    assert judged(more(), sample(a=pair["a"]), sample(b=pair["b"]))["verdict"] == "undecided"


def test_a_second_axis_must_be_true_all_along():
    x = torch.ones(6, 3)
    assert judged(more(0), sample(x=x))["verdict"] == "holds"
    x[:, 1] = -1
    assert judged(more(0), sample(x=x))["verdict"] == "does not hold"
    assert judged(more(0), sample(x=x))["here"] == "x 1, -1, 1 [-1, 1]"


@pytest.mark.parametrize("condition", [more(0), same(), every(), slope(1)])
def test_a_claim_about_nothing_does_not_hold(condition):
    row = judged(condition, sample(x=torch.ones(6, 0)))
    assert row["verdict"] == "conditions not met"
    assert row["values"] == {"x": [None]}


def test_all_resamples_go_through_the_value_at_once():
    shapes = []

    def value(x):
        shapes.append(tuple(x.shape))
        return x.median(1).values

    judged(more(0), sample(x=torch.ones(5)), value=value)
    assert shapes == [(1001, 5)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.judge("a", "It is so.", ours(), more(0), sample(x=[1.0] * 4)), "units = 4 in a: expected at least 5"),
        (lambda c: c.judge("a", "It is so", ours(), more(0), exact(x=1)), "says = 'It is so': expected a sentence"),
        (lambda c: c.judge("a", "It is so.", "paper", more(0), exact(x=1)), "a: expected an origin .*, got 'paper'"),
        (lambda c: c.judge("a", "It is so.", ours(), more(0), 3), "samples = 3 in a: expected sample"),
        (lambda c: c.judge("a", "It is so.", ours(), more(), exact(x=1)), r"value = quantities \['x'\]: expected 2"),
        (lambda c: c.judge("a", "It is so.", ours(), more(0)), r"samples = quantities \[\]: expected at least one"),
        (lambda c: c.judge("a", "It is so.", ours(), more(0), exact(x=1), value=lambda x: 3), "value = value: expected"),
        (lambda c: sample(x=[1.0, 2.0], y=[1.0]), "quantities = units {'x': 2, 'y': 1}: expected arrays"),
        (lambda c: sample(x=[]), "quantities = units {'x': 0}"),
        (lambda c: argued("a <", names="a", because="there is no line for this in the table"), "text = 'a <': expected"),
        (lambda c: argued("a < 1", names="a", because="so"), "because = 'so': expected a sentence"),
        (lambda c: left_out([0, 0, 1], [[1.0, 2, 3]]), "expected at least four different values"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("reader")
def test_bad_use_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(Claims("demo", "book"))


def test_few_units_are_asked_for_more():
    assert claims_module.required(5) == pytest.approx(0.9914, abs=1e-4)
    assert claims_module.required(10) == pytest.approx(0.9733, abs=1e-4)
    assert claims_module.required(10_000) == pytest.approx(0.95, abs=1e-3)


def test_a_straight_line_is_linear_and_a_step_is_not():
    x = torch.linspace(0, 1, 12)
    noise = 0.02 * torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    line, step = (left_out(x, y + noise) for y in (2 * x, (x > 0.5).double()))
    assert bool((line["line"].mean() <= 1.15 * line["curve"].mean()).all())
    assert bool((step["line"] > 1.15 * step["curve"]).all())


def test_a_check_stops_the_run_and_says_what_was_found():
    ensure("no mass is lost", 0.0 < 1e-6)
    with pytest.raises(RuntimeError, match=r"^violated: no mass is lost \(found 0.1\)$"):
        ensure("no mass is lost", 0.1 < 1e-6, 0.1)


def test_a_verdict_is_a_linkable_line_with_its_grounds_in_a_fold():
    html = claims_module.Verdict(some_claims().rows[1])._repr_mimebundle_()["text/html"]
    assert '<div class="verdict" id="claim-demo-down"' in html
    assert 'href="#claim-demo-down"' in html
    assert "It &lt;goes&gt; down." in html
    assert html.index("does not hold") < html.index("<details>") < html.index("x &lt; 1")


def test_the_table_is_text_with_words_and_signs():
    html = some_claims()._repr_mimebundle_()["text/html"]
    assert '<span class="sign">✓</span> <strong>holds</strong>' in html
    assert "It &lt;goes&gt; down." in html
    assert "implied by the paper, the title" in html
    assert html.count('scope="row"') == 3


def test_claims_are_read_back_from_notebooks(tmp_path):
    path = notebook(tmp_path, some_claims())
    rows = verdicts.read(path)
    assert rows == some_claims().rows
    assert set(rows[0]) == set(verdicts.COLUMNS)


@pytest.fixture
def a_ledger(tmp_path, monkeypatch):
    """A ledger of its own, and a page that it can tell the version of."""
    for module in (ledger_module, main_module):
        monkeypatch.setattr(module, "LEDGER", tmp_path / "book/ledger.json")
    monkeypatch.setattr(ledger_module, "ROOT", tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book/demo.md").write_text("# Demo\n")
    ledger_module.ledger.cache_clear()
    yield tmp_path
    ledger_module.ledger.cache_clear()


def test_the_ledger_catches_a_verdict_that_moved(a_ledger, capsys):
    path = notebook(a_ledger, some_claims())
    assert main_module.main([str(path)]) == 0
    assert "demo is not in the ledger yet" in capsys.readouterr().out
    ledger_module.write(verdicts.read(path), "2026-11-26")
    assert main_module.main([str(path)]) == 0
    assert "✓" in verdicts.seeds("demo/up")
    for verdict, status in (("undecided", 0), ("conditions not met", 0), ("does not hold", 1)):
        claims = some_claims()
        claims["up"]["verdict"] = verdict
        assert main_module.main([str(notebook(a_ledger, claims))]) == status
    shown = capsys.readouterr()
    assert "moved: demo/up at seed 0: does not hold (x 1.1) on " in shown.err
    assert "it was holds (x 1.1)" in shown.err
    (a_ledger / "book/demo.md").write_text("# Demo\n\n```{code-cell}\n1\n```\n")
    main_module.main([str(path)])
    assert "demo has changed since the ledger was recorded" in capsys.readouterr().out


def test_two_builds_are_held_to_each_other(a_ledger, capsys):
    claims, other = some_claims(), a_ledger / "other"
    other.mkdir()
    before = notebook(other, claims)
    assert main_module.main(["--against", str(other), str(notebook(a_ledger, claims))]) == 0
    claims["up"]["verdict"], claims["up"]["here"] = "does not hold", "x 1.2"
    assert main_module.main(["--against", str(other), str(notebook(a_ledger, claims))]) == 1
    assert "✗ demo/up: x 1.2 (was holds, x 1.1)" in capsys.readouterr().out
    assert before.exists()


def test_a_notebook_without_claims_is_an_error(a_ledger):
    assert main_module.main([str(notebook(a_ledger, Claims("demo", "book")))]) == 1


@pytest.fixture
def two_chapters(tmp_path, monkeypatch):
    """A folder with two executed chapters of a book of three."""
    notebook(tmp_path, some_claims(), "lottery")
    notebook(tmp_path, some_claims("smoke"), "audits")
    files = "{file: book/lottery}, {file: book/absent}, {file: book/audits}"
    (tmp_path / "_toc.yml").write_text(f"parts: [{{caption: How & why, chapters: [{files}]}}]")
    (tmp_path / "references.bib").write_text(
        "@misc{lottery2024, title={On {Luck}}, author={van Aa, A. and Be, B.}, year=2024}\n"
        "@misc{audits2024, title={On <Order>}, author={Aa, A. and Be, B. and Ce, C.}, year=2023}\n"
    )
    monkeypatch.setattr(front, "TOC", tmp_path / "_toc.yml")
    monkeypatch.setattr(front, "BIBLIOGRAPHY", tmp_path / "references.bib")
    return tmp_path


def test_front_page_counts_and_links_in_the_order_of_the_book(two_chapters):
    html = scoreboard(two_chapters).html
    assert html.index('href="lottery.html"') < html.index('href="audits.html"')
    assert "2 claims of 2 papers" in html
    assert html.count("<td>0 of 1</td>") == 4
    listed = front.exceptions(two_chapters).html
    assert 'href="lottery.html#claim-demo-down"' in listed
    assert "(ours): It &lt;goes&gt; down. Measured: x 1.1." in listed
    assert "(implied by the paper, the title): It is up." in listed
    assert listed.count("<li>") == 2


def test_all_claims_stand_below_the_scoreboard_to_choose_from(two_chapters):
    html = scoreboard(two_chapters).html
    rows = re.findall(r'<tr data-part="([^"]*)" data-origin="(\w+)" data-verdict="([^"]*)">', html)
    assert len(rows) == 6
    assert rows[0] == ("How &amp; why", "paper", "holds")
    menus = [re.findall(r"<option>([^<]*)</option>", menu) for menu in re.findall(r"<select.*?</select>", html)]
    every_verdict = ["holds", "does not hold", "undecided", "not judged at this scale"]
    assert menus == [["How &amp; why"], ["paper", "implied", "ours"], every_verdict]


def test_a_card_says_what_a_chapter_asks_of_which_paper_and_what_it_found(two_chapters):
    html = gallery(two_chapters).html
    assert html.count("<li>") == html.count('<svg class="sketch"') == 2
    assert html.index("Does lottery go up?") < html.index("Does audits go up?")
    assert "<cite>On Luck</cite>, van Aa and Be, 2024" in html
    assert "<cite>On &lt;Order&gt;</cite>, Aa et al., 2023" in html
    assert "The paper&#x27;s claims: 1 holds" in html
    assert 'data-page="audits"' in html


def test_every_chapter_has_a_sketch():
    assert len({sketch(slug) for slug in CHAPTERS}) == len(CHAPTERS)
    with pytest.raises(ValueError, match=r"^slug = 'lotery': expected one of geneft, "):
        sketch("lotery")


def test_the_honesty_page_prints_every_line_of_the_table():
    assert all(name in conditions.table() for _, name, _ in conditions.TABLE)


def namespace(**changes):
    """What a notebook's globals hold after papermill's cell."""
    known = {"scale": "book", "device": "cpu", "seed": 0, "widths": [8], "rate": 0.1}
    types = {"scale": str, "device": str, "seed": int, "widths": list[int], "rate": float}
    cell = "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in changes.items())
    return {**known, **changes, "__annotations__": types, "In": ["", "the defaults", cell]}


def test_parameters_are_checked_by_their_annotations():
    need = parameters(namespace(seed=3))
    need("widths", low=1)
    with pytest.raises(ValueError, match=r"^rate = 0.1: expected a finite number > 1"):
        need("rate", above=1)
    with pytest.raises(ValueError, match=r"^names = 'width': expected annotated parameters"):
        need("width")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sed": 3}, "sed = 3: expected a parameter of this chapter, the nearest is seed"),
        ({"seed": -1}, "seed = -1: expected a whole number ≥ 0"),
        ({"scale": "papper"}, "scale = 'papper': expected one of book, paper, smoke"),
        ({"device": "tpu"}, "device = 'tpu': expected one of"),
        (
            {"widths": "[8, 16]"},
            r"widths = '\[8, 16\]': expected a list of at least 1 value \(with papermill: -y",
        ),
        ({"widths": [8, 1.5]}, r"widths\[1\] = 1.5: expected a whole number"),
        ({"rate": float("nan")}, "rate = nan: expected a finite number"),
    ],
)
def test_bad_parameters_are_refused(changes, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        parameters(namespace(**changes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_card_is_said_before_any_work():
    with pytest.raises(ValueError, match=r"^device = 'cuda': expected cpu"):
        parameters(namespace(device="cuda"))


def test_numbers_in_words():
    assert each(torch.tensor([[0.123, 0.5]])) == "0.12, 0.50"
    assert between([3, 1, 2], 0) == "1 to 3"
    assert interval(1.111, 1.04, 1.2) == "1.11 [1.04, 1.20]"


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


def opened(explorable):
    """What an explorable carries: the data of its pictures, and of each slider its stops and where it opens."""
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', explorable.html, re.S)[1])
    sliders = re.findall(r'value="(\d+)" autocomplete="off" aria-valuetext="([^"]*)" data-stops="([^"]*)"', explorable.html)
    return data, [(int(index), text, json.loads(unescape(stops))) for index, text, stops in sliders]


def frames(data):
    return ["\n".join(data["lines"][k] for k in frame) for frame in data["frames"]]


def test_one_axis_moves_between_its_pictures():
    explorable = explore(draw, "Frame {step}", step=[1, 10, 100])
    data, sliders = opened(explorable)
    assert sliders == [(0, "1", ["1", "10", "100"])]
    assert data["words"] == ["Frame 1", "Frame 10", "Frame 100"]
    assert [re.search(r"'step': (\d+)", frame)[1] for frame in frames(data)] == ["1", "10", "100"]


def test_the_opening_picture_stands_in_the_page_without_a_script():
    explorable = explore(draw, "{a}{b}", start={"b": "y"}, a=[1, 2], b=["x", "y", "z"])
    data, sliders = opened(explorable)
    assert [(index, text) for index, text, _ in sliders] == [(0, "1"), (1, "y")]
    assert data["words"] == ["1x", "1y", "1z", "2x", "2y", "2z"]
    page = re.sub(r"<script.*?</script>", "", explorable.html, flags=re.S)
    assert f'<figure class="plot" role="img" aria-label="1y">{frames(data)[1]}</figure>' in page
    assert "This is one picture of several" in page
    assert '<div class="sliders" hidden>' in page
    with pytest.raises(ValueError, match=r"^start = {'a': 3}: expected values of the axes"):
        explore(draw, "{a}", start={"a": 3}, a=[1, 2])


def test_what_pictures_share_is_stored_once():
    data, _ = opened(explore(draw, "Frame {step}", step=list(range(10))))
    assert len("".join(data["lines"])) < 0.3 * len("".join(frames(data)))
    assert len(set(data["lines"])) == len(data["lines"])


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_legends_lie_on_no_data(scale):
    """Data fill the axes where the legend was put, or all of them."""
    rng = np.random.default_rng(0)
    for corner in ((0.6, 0.6), (0, 0)):
        fig, ax = figure()
        x, y = rng.uniform(corner, 1, (400, 2)).T
        ax.plot(x, y, ".", label="points that are in the way")
        ax.plot([0.001, 0.001], [0.001, 0.001], label="nearly nothing")
        ax.set(xscale=scale, xlabel="x")
        legend = ax.legend(loc="upper right")
        layout.clear(fig)
        fig.draw_without_rendering()
        box = legend.get_window_extent()
        assert box.count_contains(ax.transData.transform(np.stack([x, y], 1))) == 0
        assert box.y0 >= 0
        assert box.y1 <= fig.bbox.y1
        assert not box.overlaps(ax.xaxis.label.get_window_extent())


def test_a_phone_sees_panels_below_each_other_and_no_small_text():
    fig, axes = figure(1, 3, sharey=True)
    for ax in axes:
        ax.plot([0, 1], label="a line")
        ax.text(0, 0, "small", fontsize=6)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    axes[0].set_ylabel("shared")
    layout.stack(fig)
    layout.clear(fig)
    fig.draw_without_rendering()
    assert fig.get_figwidth() == layout.PHONE
    boxes = [ax.get_window_extent() for ax in axes]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    assert all(ax.yaxis.get_tick_params()["labelleft"] for ax in axes)
    assert [ax.get_ylabel() for ax in axes] == ["shared"] * 3
    shown = [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= layout.SMALLEST


@pytest.mark.parametrize(
    "axes", [{}, {"a": []}, {"a": range(61)}, {"a": range(8), "b": range(8)}, {"a": [1], "b": [1], "c": [1]}]
)
def test_explorables_stay_small(axes):
    with pytest.raises(ValueError, match=r"^axes = .*expected one or two axes with 1 to 60 frames"):
        explore(draw, "alt", **axes)


def test_claims_travel_as_json():
    bundle = claims_module.Verdict(some_claims().rows[2])._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[verdicts.MIME])) == bundle[verdicts.MIME]
