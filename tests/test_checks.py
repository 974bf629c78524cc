import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.checks import check


@given(st.integers(1, 9))
def test_whole_numbers_pass(n):
    check("n", n, int, low=1, high=9)
    check("n", n, float, above=0)
    check("n", [n, n], [int], low=1, least=2)
    check("n", [n, n + 1], [int], rising=True)


@pytest.mark.parametrize(
    ("value", "kind", "bounds", "expected"),
    [
        ("3", int, {}, "a whole number"),
        (True, int, {}, "a whole number"),
        (2.0, int, {}, "a whole number"),
        (0, int, {"low": 1}, "≥ 1"),
        (10, int, {"low": 1, "high": 9}, "≥ 1 and ≤ 9"),
        (math.nan, float, {}, "a finite number"),
        (math.inf, float, {"above": 0}, "> 0"),
        ("1e-3", float, {}, "a finite number"),
        (0.0, float, {"above": 0}, "> 0"),
        (1, bool, {}, "true or false"),
        (None, str, {}, "a text"),
        ("elu", {"relu", "silu"}, {}, "one of relu, silu"),
        ([], [int], {}, "a list of at least 1 value"),
        ([3], [int], {"least": 2}, "a list of at least 2 values"),
        (3, [int], {}, "a list"),
        ([1, 3, 3], [int], {"rising": True}, "rising values"),
        ([3.0, 1.0], [float], {"rising": True}, "rising values"),
    ],
)
def test_bad_values_are_named(value, kind, bounds, expected):
    with pytest.raises(ValueError, match=r"^widths = ") as error:
        check("widths", value, kind, **bounds)
    assert repr(value) in str(error.value)
    assert expected in str(error.value)


def test_the_bad_item_of_a_list_is_named():
    with pytest.raises(ValueError, match=r"^widths\[1\] = -2: expected a whole number ≥ 1$"):
        check("widths", [4, -2], [int], low=1)
