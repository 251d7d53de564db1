"""Generations of worlds that a worker makes, told from those that one could go back to.

Adding a column with a constant default rewrites no row (PostgreSQL 11 and newer).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("retired_world", sa.Column("is_incoming", sa.Boolean(), server_default="false", nullable=False))
