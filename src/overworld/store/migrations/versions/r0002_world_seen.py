"""Remember which world was seen, so that one that is gone is never mistaken for one that was never made.

Adding a column with a constant default rewrites no row (PostgreSQL 11 and newer).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("server_status", sa.Column("world_seen", sa.Integer(), server_default="0", nullable=False))
