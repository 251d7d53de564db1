"""Runs the revisions on the connection that overworld.store.schema opened, in one transaction."""

from __future__ import annotations

from alembic import context

from overworld.store.save_tables import every_table

context.configure(connection=context.config.attributes["connection"], target_metadata=every_table)
with context.begin_transaction():
    context.run_migrations()
