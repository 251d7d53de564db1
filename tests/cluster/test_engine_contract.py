"""The engine and console contract of tests/contract, on a real Kubernetes: the same cases, one more stage."""

from __future__ import annotations

from contract.test_console import *  # noqa: F403 (the cases are the contract)
from contract.test_engine import *  # noqa: F403
