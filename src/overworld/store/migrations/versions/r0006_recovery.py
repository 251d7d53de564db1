"""How an installation is brought back if it is lost: one row, which its dumps have too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "recovery",
        sa.Column("single", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.Text(), nullable=False),
        sa.Column("key_made_at", time, nullable=True),
        sa.Column("dumped_at", time, nullable=True),
        sa.Column("dump_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("dump_new_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("dump_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("pruned_at", time, nullable=True),
        sa.Column("prunes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("fence", sa.Text(), server_default="", nullable=False),
        sa.Column("restored", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_recovery_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_recovery")),
    )
