"""Worlds for tests: agents asked directly, and awkward things to find."""
