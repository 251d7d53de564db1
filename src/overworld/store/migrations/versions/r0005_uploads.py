"""Generations of worlds that a worker makes, told from those that one could go back to; when files were changed.

Adding columns without a default or with a constant one rewrites no row (PostgreSQL 11 and newer).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("retired_world", sa.Column("is_incoming", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("server", sa.Column("files_changed_at", sa.DateTime(timezone=True), nullable=True))
