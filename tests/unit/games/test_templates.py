"""Templates substitute once and can do nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.games.templates import (
    find_placeholders,
    leading_placeholder,
    sole_placeholder,
    substitute,
)


@given(st.text(), st.text())
def test_a_value_is_copied_and_never_read_again(first: str, second: str) -> None:
    """Whatever a value holds, placeholders of other values included, it appears as it is."""
    template = "a={{variables.a}};b={{variables.b}}"
    values = {"variables.a": first + "{{variables.b}}", "variables.b": second}

    assert substitute(template, values) == f"a={first}{{{{variables.b}}}};b={second}"


@given(st.text(alphabet="{}abc._ 1"))
def test_every_pair_of_braces_is_a_placeholder_or_an_error(template: str) -> None:
    """A template that is accepted leaves no pair of braces behind once its placeholders are gone."""
    try:
        names = find_placeholders(template)
    except ValueError:
        return
    rest = substitute(template, dict.fromkeys(names, "X"))
    assert "{{" not in rest.replace("{X", "")
    assert rest.count("X") == len(names)


@pytest.mark.parametrize(
    "template",
    [
        "{{ world }}",
        "{{world}",
        "{{World}}",
        "{{a.b.c}}",
        "{{}}",
        "{{world|upper}}",
        "{{world()}}",
        "}}",
        "{{{{world}}",
    ],
)
def test_what_is_no_placeholder_is_refused(template: str) -> None:
    """There are no spaces, filters, calls or nested names."""
    with pytest.raises(ValueError, match="is not a placeholder"):
        find_placeholders(template)


def test_an_unknown_name_is_an_error() -> None:
    """Nothing is ever left empty in silence."""
    with pytest.raises(KeyError):
        substitute("{{nothing}}", {})


def test_places_of_placeholders() -> None:
    """Whether a template is one placeholder, and whether it begins with one."""
    assert sole_placeholder("{{ports.game}}") == "ports.game"
    assert sole_placeholder("{{ports.game}} ") is None
    assert leading_placeholder("{{world}}/x") == "world"
    assert leading_placeholder("-{{world}}") is None
