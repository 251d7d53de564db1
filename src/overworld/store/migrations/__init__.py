"""Alembic's scripts, packaged; run by overworld.store.schema."""
