"""The local engine on real processes: the contract suite's stage, and what else it takes."""

from __future__ import annotations

from contract.conftest import local, open_folder

__all__ = ["local", "open_folder"]
