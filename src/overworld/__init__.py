"""Overworld: a self-hosted game-server backend."""
