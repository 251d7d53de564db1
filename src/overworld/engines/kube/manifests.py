"""What all rendered objects have in common."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from overworld.engines.kube.names import RENDERED

Manifest = dict[str, Any]

USER = 10000
"""Whom games run as in their pods, and who owns their worlds."""


def stamp(manifest: Manifest, *others: Manifest) -> Manifest:
    """The manifest with a hash of itself, and of others that must go with it."""
    content = json.dumps([manifest, *others], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), RENDERED: digest}}}
