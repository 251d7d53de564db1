"""The API's documents agree with the routes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from overworld.web.app import GROUPS
from overworld.web.docs import CONTENT_SECURITY_POLICY
from overworld.web.openapi import PREFIX, build_document

ROOT = Path(__file__).resolve().parents[3]
ROUTES = [route for group in GROUPS for route in group.declared]


def test_every_route_is_in_the_api_page() -> None:
    """docs/api.md names each route, and none that is not there."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`?]*)`", page, re.MULTILINE))
    assert written == {(route.method, re.sub(r"<(\w+)>", r"{\1}", route.rule)) for route in ROUTES}


def test_every_operation_and_component_has_its_own_name() -> None:
    """Operation ids are unique; components are called like their classes, without parts made up by a library."""
    document = build_document(GROUPS)
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)
    assert [name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []


def test_every_reference_leads_somewhere() -> None:
    """Each $ref of the document names a component that it has."""
    document = build_document(GROUPS)
    for reference in set(re.findall(r'"\$ref": "#/components/(\w+)/(\w+)"', json.dumps(document))):
        assert reference[1] in document["components"][reference[0]]


def test_what_is_always_shown_is_required() -> None:
    """A client may rely on every member of an answer."""
    shown = build_document(GROUPS)["components"]["schemas"]["ServerEntry"]
    assert set(shown["required"]) == set(shown["properties"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_is_described(route: object) -> None:
    """A summary of one sentence from the view's docstring."""
    path = build_document(GROUPS)["paths"]
    operations = [operation for methods in path.values() for operation in methods.values()]
    found = next(operation for operation in operations if operation["operationId"] == getattr(route, "name", None))
    assert found["summary"]
    assert "\n" not in found["summary"]


def test_paths_lie_under_the_version() -> None:
    """Everything is under /api/v1."""
    assert all(path.startswith(f"{PREFIX}/") for path in build_document(GROUPS)["paths"])


def test_the_page_loads_nothing_from_elsewhere() -> None:
    """Every address in the page is a path of our own, and the browser is told to refuse all others."""
    folder = ROOT / "src" / "overworld" / "web" / "docs_page"
    page = (folder / "index.html").read_text() + (folder / "start.js").read_text()
    addresses = re.findall(r"""(?:src|href|url)[=:]\s*["']([^"']*)""", page)
    assert len(addresses) == 6
    assert all(re.match(r"/\w", address) for address in addresses)
    assert "validatorUrl: null" in page
    assert "http" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'")
