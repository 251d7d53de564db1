"""Those who speak to the API in tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

BASE = "/api/v1"


@dataclass
class Client:
    """Somebody who speaks to the API."""

    app: Flask
    token: str | None
    account_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **given: Any) -> TestResponse:
        """One request; paths begin behind /api/v1, unless they begin with two slashes."""
        sent = dict(self.headers)
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        sent.update(headers or {})
        return self.app.test_client().open(
            path[1:] if path.startswith("//") else BASE + path, method=method, headers=sent, **given
        )

    def get(self, path: str, **given: Any) -> TestResponse:
        """GET."""
        return self.ask("GET", path, **given)

    def post(self, path: str, **given: Any) -> TestResponse:
        """POST."""
        return self.ask("POST", path, **given)

    def patch(self, path: str, **given: Any) -> TestResponse:
        """PATCH."""
        return self.ask("PATCH", path, **given)

    def put(self, path: str, **given: Any) -> TestResponse:
        """PUT."""
        return self.ask("PUT", path, **given)

    def delete(self, path: str, **given: Any) -> TestResponse:
        """DELETE."""
        return self.ask("DELETE", path, **given)

    def make_server(self, name: str = "Home", **given: Any) -> dict[str, Any]:
        """A server of this client's own, as shown."""
        answer = self.post("/servers", json={"name": name, "game": "luanti", "start": False, **given})
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.get_json()
        return shown
