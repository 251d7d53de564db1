"""The pages about the API work without any other server."""

from __future__ import annotations

import re

from integration.web.clients import Client


def test_the_browsable_page_has_all_that_it_names(nobody: Client) -> None:
    """Each address in the page is served from here, as what it is, and the browser is told to load nothing else."""
    page = nobody.get("//docs")
    assert page.mimetype == "text/html"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    types = {"css": "text/css", "js": "text/javascript", "png": "image/png"}
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(addresses) == 5
    for address in addresses:
        asset = nobody.get(f"/{address}")
        assert (asset.status_code, asset.mimetype) == (200, types[address.rpartition(".")[2]])
        assert len(asset.data) > 100


def test_no_other_file_is_served(nobody: Client) -> None:
    """Only what the page needs, and only problems that exist."""
    for address in ("//docs/assets/index.html", "//docs/assets/..%2fapp.py", "//docs/assets/swagger-ui.js",
                    "//docs/problems/..%2f..%2fREADME", "//docs/problems/nothing", "//docs/"):  # fmt: skip
        assert nobody.get(address).status_code == 404


def test_metrics_count_by_route_and_not_by_path(anna: Client, nobody: Client) -> None:
    """Ids in paths make no series of their own; what is no route is counted as one."""
    server = anna.make_server()
    anna.get(f"/servers/{server['id']}")
    nobody.get("/nothing/at/all")
    text = nobody.get("//metrics").text
    assert server["id"] not in text
    assert "nothing" not in text
    assert 'route="/api/v1/servers/<server_id>",status="200"' in text
    assert 'route="(none)",status="404"' in text
