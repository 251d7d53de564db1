"""Saves, who works on which world, and the tables of procrastinate in a schema of their own.

Adding columns with a constant default rewrites no row. Procrastinate's functions name their tables without a schema;
each is told where to look, so that a job can be enqueued in any transaction of ours, whatever its search path.
"""

from __future__ import annotations

from importlib import resources

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIND_FUNCTIONS = """
DO $$
DECLARE found regprocedure;
BEGIN
    FOR found IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'procrastinate'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = procrastinate, pg_temp', found);
    END LOOP;
END;
$$
"""


def upgrade() -> None:
    """Create them."""
    time = sa.DateTime(timezone=True)
    op.add_column("operation", sa.Column("arguments", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("operation", sa.Column("progress", postgresql.JSONB(), nullable=True))
    op.add_column("operation", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("operation", sa.Column("cancel_asked_at", time, nullable=True))
    op.add_column("server", sa.Column("newest_world", sa.Integer(), server_default="1", nullable=False))
    _create_save()
    _create_tables_of_servers()
    op.create_table(
        "save_key",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.Text(), nullable=False),
        sa.Column("waste_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("remove_at", time, nullable=True),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_save_key")),
    )
    op.create_table(
        "world_lease",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_world_lease")),
    )
    op.create_index("ix_world_lease_expires_at", "world_lease", ["expires_at"])
    _create_procrastinate()


def _create_save() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "save",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("world_generation", sa.Integer(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("quiet", sa.Text(), nullable=True),
        sa.Column("off_seconds", sa.Double(), nullable=True),
        sa.Column("bytes_total", sa.BigInteger(), nullable=True),
        sa.Column("bytes_new", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("game_revision", sa.Text(), nullable=False),
        sa.Column("configuration_revision", sa.BigInteger(), nullable=False),
        sa.Column("spec", postgresql.JSONB(), nullable=False),
        sa.Column("proven_at", time, nullable=True),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("ended_at", time, nullable=True),
        sa.CheckConstraint("state IN ('running', 'kept', 'failed', 'gone')", name=op.f("ck_save_state")),
        sa.CheckConstraint("state <> 'kept' OR snapshot_id IS NOT NULL", name=op.f("ck_save_snapshot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_save")),
    )
    op.create_index("ix_save_server_created", "save", ["server_id", "created_at", "id"])
    op.create_index("ix_save_account_created", "save", ["account_id", "created_at", "id"])
    op.create_index("ix_save_running", "save", ["server_id"], postgresql_where=sa.text("state = 'running'"))
    op.create_index("ix_save_ended", "save", ["ended_at"], postgresql_where=sa.text("state IN ('failed', 'gone')"))


def _create_tables_of_servers() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "save_policy",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("keep_last", sa.Integer(), nullable=True),
        sa.Column("keep_hourly", sa.Integer(), nullable=True),
        sa.Column("keep_daily", sa.Integer(), nullable=True),
        sa.Column("keep_weekly", sa.Integer(), nullable=True),
        sa.Column("keep_monthly", sa.Integer(), nullable=True),
        sa.Column("quota_mib", sa.BigInteger(), nullable=True),
        sa.Column("drill", sa.Boolean(), nullable=True),
        sa.Column("next_at", time, nullable=True),
        sa.Column("check_at", time, nullable=True),
        sa.Column("drill_at", time, nullable=True),
        _of_server("save_policy"),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_save_policy")),
    )
    op.create_index("ix_save_policy_next_at", "save_policy", ["next_at"])
    op.create_table(
        "save_health",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("last_saved_at", time, nullable=True),
        sa.Column("last_proven_at", time, nullable=True),
        sa.Column("last_checked_at", time, nullable=True),
        sa.Column("checks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("problem_since", time, nullable=True),
        _of_server("save_health"),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_save_health")),
    )
    op.create_table(
        "saving_off",
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("since", time, nullable=False),
        _of_server("saving_off"),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_saving_off")),
    )


def _of_server(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_server_id")
    return sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=name, ondelete="CASCADE")


def _create_procrastinate() -> None:
    """Its own SQL, of the one minor version that pyproject.toml allows: raising that needs a revision with its
    migrations."""
    statements = (resources.files("procrastinate.sql") / "schema.sql").read_text(encoding="utf-8")
    connection = op.get_bind()
    before = connection.execute(sa.text("SHOW search_path")).scalar_one()
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor:  # several statements at once: only without parameters, and not by SQLAlchemy
        cursor.execute("CREATE SCHEMA procrastinate")
        cursor.execute("SET LOCAL search_path = procrastinate")
        cursor.execute(statements)
        cursor.execute("SELECT set_config('search_path', %s, true)", [before])
        cursor.execute(_BIND_FUNCTIONS)
