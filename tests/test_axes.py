"""Parameters that are the axis of a claim or of a figure: every chapter refuses values that do not rise."""

import jupytext
import pytest
from conftest import ROOT

AXES = {
    "audits": "bits decimals correlations",
    "geneft": "log_ratios log_encoder_rates log_decoder_rates spreads fractions gap_fractions depths",
    "grokking": "pieces",
    "hypernetworks": "dims test_dims gate_dims gates backgrounds drawn rates",
    "lottery": "widths rates starts steps",
    "resource": "target_weights shares unlike_weights pair_weights lasso_weights",
}


@pytest.mark.parametrize(("chapter", "name"), [(chapter, name) for chapter in AXES for name in AXES[chapter].split()])
def test_an_axis_that_falls_is_refused(chapter, name):
    defaults, checks = [
        cell.source for cell in jupytext.read(ROOT / f"book/{chapter}.md").cells if cell.cell_type == "code"
    ][:2]
    space = {}
    exec(defaults, space)
    space[name] = space[name][::-1]
    with pytest.raises(ValueError, match=rf"^{name} = .*: expected rising values$"):
        exec(checks, space)
