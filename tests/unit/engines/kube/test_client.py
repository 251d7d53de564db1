"""What a failed request means, for the sentences that API servers really write."""

from __future__ import annotations

import json

import pytest

from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.engines.kube.client import Exists, Expired, Missing, explain


def status(message: str) -> bytes:
    """A Status object."""
    return json.dumps({"kind": "Status", "status": "Failure", "message": message}).encode()


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        (403, 'services "x" is forbidden: exceeded quota: games, requested: services.loadbalancers=1', "QuotaExceeded"),
        (
            403,
            'deployments.apps "x" is forbidden: User "web" cannot patch resource "deployments" in API group "apps"',
            "NotAllowed",
        ),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot', "AdmissionDenied"),
        (400, 'admission webhook "policy" denied the request: no', "Invalid"),
        (422, 'Deployment.apps "x" is invalid: spec.selector: field is immutable', "Invalid"),
    ],
)
def test_what_somebody_must_mend_is_refused_with_the_servers_sentence(code: int, message: str, reason: str) -> None:
    """It names the quota, the policy or the field."""
    error = explain(code, status(message))
    assert isinstance(error, EngineRefused)
    assert error.reason == reason
    assert message in error.detail


@pytest.mark.parametrize("code", [401, 409, 429, 500, 503, 504])
def test_what_passes_is_unavailable(code: int) -> None:
    """The reconciler tries again."""
    assert isinstance(explain(code, status("later")), EngineUnavailable)


def test_gone_missing_and_there_are_for_the_engine_alone() -> None:
    """They are no faults."""
    assert isinstance(explain(404, b""), Missing)
    assert isinstance(explain(410, b""), Expired)
    assert isinstance(explain(409, b'{"status": "Failure", "reason": "AlreadyExists"}'), Exists)


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"[]", b"\xff\xfe"])
def test_an_answer_that_is_no_status_still_has_words(body: bytes) -> None:
    """Proxies answer too."""
    error = explain(502, body)
    assert isinstance(error, EngineUnavailable)
    assert "502" in error.detail
