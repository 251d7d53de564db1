"""The Authorization header of every kind of kubeconfig that is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightkube import KubeConfig
from lightkube.config.kubeconfig import SingleConfig

from overworld.engines.kube.signing import Credential


def config(user: dict[str, Any]) -> SingleConfig:
    """A kubeconfig of that user."""
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    chosen = KubeConfig.from_dict(content).get()
    assert chosen is not None
    return chosen


async def test_a_certificate_needs_no_header() -> None:
    """And there is nothing to renew."""
    credential = Credential(config({"client-certificate": "/c", "client-key": "/k"}))
    headers = await credential.headers()
    assert headers == {}
    assert await credential.renewed(headers) is None


async def test_a_token_that_is_refused_is_not_tried_again() -> None:
    """It stands in the kubeconfig, and there is no other."""
    credential = Credential(config({"token": "t"}))
    headers = await credential.headers()
    assert headers == {"Authorization": "Bearer t"}
    assert await credential.renewed(headers) is None


async def test_a_service_accounts_token_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    """Once for all requests that were refused with the old one."""
    file = tmp_path / "token"
    file.write_text("old\n")
    credential = Credential(config({"tokenFile": str(file)}))
    old = await credential.headers()
    file.write_text("new\n")
    assert await credential.headers() == {"Authorization": "Bearer old"}
    assert await credential.renewed(old) == {"Authorization": "Bearer new"}
    file.write_text("newer\n")
    assert await credential.renewed(old) == {"Authorization": "Bearer new"}
    assert await credential.headers() == {"Authorization": "Bearer new"}
