"""Finding restic: the one that is configured, the one on PATH, or the one that scripts/setup put into the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from overworld.domain.errors import SaveStoreRefused

OLDEST = (0, 18)
_IN_CHECKOUT = Path(__file__).resolve().parents[3] / ".tools" / "restic"


def find_restic(configured: Path | None = None) -> Path:
    """The path of a restic that is new enough. Blocking: it runs each candidate once.

    Raises ``SaveStoreRefused`` (``NoRestic``), which says what to install. A configured one is the only candidate.
    """
    candidates = [configured] if configured else [shutil.which("restic"), _IN_CHECKOUT]
    seen = []
    for candidate in candidates:
        if candidate is None:
            continue
        version = version_of(Path(candidate))
        if version is not None and version >= OLDEST:
            return Path(candidate).resolve()
        seen.append(f"{candidate} is {'.'.join(map(str, version)) if version else 'no restic'}")
    raise SaveStoreRefused(
        "NoRestic",
        f"Saves need restic {'.'.join(map(str, OLDEST))} or newer: install it (scripts/setup does)"
        f" ({'; '.join(seen) or 'none was found on PATH'}).",
    )


def version_of(program: Path) -> tuple[int, ...] | None:
    """Its version, or None for what is no restic."""
    try:
        said = subprocess.run([program, "version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"restic (\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part) for part in found.groups() if part is not None) if found else None
