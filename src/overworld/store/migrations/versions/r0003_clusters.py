"""Servers in a cluster: what they lie on, how players come in, their addresses, where they are, and on which nodes.

Every new column may be null, so no row is rewritten and older programs go on working.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables."""
    time = sa.DateTime(timezone=True)
    op.add_column("server", sa.Column("storage", sa.Text(), nullable=True))
    op.add_column("server", sa.Column("disk_mib", sa.Integer(), nullable=True))
    op.add_column("server", sa.Column("network", sa.Text(), nullable=True))
    op.add_column("server_status", sa.Column("place", postgresql.JSONB(), nullable=True))
    op.add_column("server_status", sa.Column("node", sa.Text(), nullable=True))
    op.create_index(op.f("ix_server_status_node"), "server_status", ["node"])
    op.create_table(
        "address",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("ports", sa.Integer(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("fqdn", sa.Text(), nullable=True),
        sa.Column("annotations", postgresql.JSONB(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("leased_at", time, nullable=False),
        sa.Column("checked_at", time, nullable=True),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_address_server_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_address")),
        sa.UniqueConstraint("label", name=op.f("uq_address_label")),
    )
    op.create_table(
        "cloud_report",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("seen_at", time, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cloud_report")),
    )
    op.create_table(
        "node",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
    )
    op.create_table(
        "node_word",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("said_at", time, nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_node_word")),
    )
