"""Events that the cloud controller writes about a Service."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx2
from lightkube import AsyncClient
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event


async def record_event(client: AsyncClient, service: Any, kind: str, reason: str, message: str) -> None:
    """Write one event of ``kind`` Normal or Warning. Equal ones are not counted together as the real recorder does."""
    now = datetime.now(UTC)
    metadata = service.metadata
    event = Event(
        metadata=ObjectMeta(name=f"{metadata.name}.{uuid.uuid4().hex[:16]}", namespace=metadata.namespace),
        involvedObject=ObjectReference(
            apiVersion="v1", kind="Service", name=metadata.name, namespace=metadata.namespace, uid=metadata.uid
        ),
        type=kind,
        reason=reason,
        message=message,
        source=EventSource(component="service-controller"),
        firstTimestamp=now,
        lastTimestamp=now,
        count=1,
    )
    with suppress(httpx2.HTTPError):  # one that cannot be written is lost, with the real controller too
        await client.create(event)
