"""Writing objects, and not writing those that are as they should be."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from overworld.domain.errors import EngineRefused
from overworld.engines.kube.client import KubeClient, Missing
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.models import Object
from overworld.engines.kube.names import RENDERED
from overworld.engines.kube.watch import Cache

T = TypeVar("T", bound=Object)


async def put(client: KubeClient, collection: str, manifest: Manifest, cache: Cache[T], kind: type[T]) -> None:
    """The object is there as rendered: applied unless it was."""
    known = cache.find(manifest["metadata"]["name"])
    if known is None or not is_as(known, manifest):
        cache.remember(msgspec.json.decode(await send(client, collection, manifest), type=kind))


async def send(client: KubeClient, collection: str, manifest: Manifest) -> bytes:
    """The object as it is after it was applied. Raises EngineRefused where the namespace itself is missing."""
    try:
        return await client.apply(f"{collection}/{manifest['metadata']['name']}", manifest)
    except Missing as error:
        raise EngineRefused(
            "NoNamespace", f"The cluster lacks what servers are put into: {error}. Install Overworld's chart."
        ) from error


def is_as(known: Object, manifest: dict[str, Any]) -> bool:
    """Whether the object was applied as it is rendered now."""
    rendered: str = manifest["metadata"]["annotations"][RENDERED]
    return known.metadata.annotations.get(RENDERED) == rendered
