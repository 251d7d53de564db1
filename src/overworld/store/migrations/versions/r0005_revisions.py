"""Generations of worlds that a worker makes, told from those that one could go back to; when files were changed; and
revisions of configurations, of which every server that is there gets its first.

A save named its server's generation, which counts starts and stops too; what was taken before names revision 0.
Adding columns without a default or with a constant one rewrites no row (PostgreSQL 11 and newer).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


_FIRST = """
    INSERT INTO configuration_revision (server_id, number, account_id, at, by, content, changed)
    SELECT id, 1, account_id, updated_at, '', jsonb_build_object(
        'game', game, 'name', name, 'memory_mib', memory_mib, 'storage', storage, 'disk_mib', disk_mib,
        'network', network, 'variables', variables
    ), '[]'
    FROM server
"""


def upgrade() -> None:
    """Add them."""
    op.add_column("retired_world", sa.Column("is_incoming", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("server", sa.Column("files_changed_at", sa.DateTime(timezone=True), nullable=True))
    time = sa.DateTime(timezone=True)
    op.create_table(
        "configuration_revision",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("changed", postgresql.JSONB(), nullable=False),
        sa.Column("restored_from", sa.Integer(), nullable=True),
        sa.Column("server_gone_at", time, nullable=True),
        sa.PrimaryKeyConstraint("server_id", "number", name=op.f("pk_configuration_revision")),
    )
    op.create_index("ix_configuration_revision_path", "configuration_revision", ["server_id", "path", "number"])
    op.create_index(
        "ix_configuration_revision_gone",
        "configuration_revision",
        ["server_gone_at"],
        postgresql_where=sa.text("server_gone_at IS NOT NULL"),
    )
    op.execute(_FIRST)
    op.execute("UPDATE save SET configuration_revision = 0")
