"""The tables of saves, of configurations that were, and of what is done with them: written by workers, and by web."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from overworld.store.tables import Time, metadata

# No foreign keys here and in save_key: saves outlive their server, for as long as the installation keeps them.
save = Table(
    "save",
    metadata,
    Column("id", Text, primary_key=True),
    Column("server_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("operation_id", Text, nullable=False),
    Column("world_generation", Integer, nullable=False),
    Column("snapshot_id", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("quiet", Text),
    Column("off_seconds", Double),
    Column("bytes_total", BigInteger),
    Column("bytes_new", BigInteger),
    Column("files", BigInteger),
    Column("seconds", Double),
    Column("game_revision", Text, nullable=False),
    Column("configuration_revision", BigInteger, nullable=False),
    Column("spec", JSONB, nullable=False),  # what it takes to make the server anew
    Column("proven_at", Time),
    Column("proof", Text),
    Column("error", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("ended_at", Time),
    CheckConstraint("state IN ('running', 'kept', 'failed', 'gone')", name="state"),
    CheckConstraint("state <> 'kept' OR snapshot_id IS NOT NULL", name="snapshot"),
    Index("ix_save_server_created", "server_id", "created_at", "id"),
    Index("ix_save_account_created", "account_id", "created_at", "id"),
    Index("ix_save_running", "server_id", postgresql_where=text("state = 'running'")),
    Index("ix_save_ended", "ended_at", postgresql_where=text("state IN ('failed', 'gone')")),
)

# No foreign key: revisions outlive their server, as its saves do.
configuration_revision = Table(
    "configuration_revision",
    metadata,
    Column("server_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("at", Time, nullable=False),
    Column("by", Text, nullable=False),
    Column("path", Text),  # of a file of the world; null: the server's settings
    Column("content", JSONB, nullable=False),
    Column("changed", JSONB, nullable=False),
    Column("restored_from", Integer),
    Column("server_gone_at", Time),
    Index("ix_configuration_revision_path", "server_id", "path", "number"),
    Index("ix_configuration_revision_gone", "server_gone_at", postgresql_where=text("server_gone_at IS NOT NULL")),
)

save_policy = Table(
    "save_policy",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("cron", Text),
    Column("time_zone", Text),
    Column("keep_last", Integer),
    Column("keep_hourly", Integer),
    Column("keep_daily", Integer),
    Column("keep_weekly", Integer),
    Column("keep_monthly", Integer),
    Column("quota_mib", BigInteger),
    Column("drill", Boolean),
    Column("next_at", Time),  # null: not planned yet; infinity: on no schedule
    Column("check_at", Time),
    Column("drill_at", Time),
    Index("ix_save_policy_next_at", "next_at"),
)

save_health = Table(  # what the saves of a server have shown: written by workers
    "save_health",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("last_saved_at", Time),
    Column("last_proven_at", Time),
    Column("last_checked_at", Time),
    Column("checks", Integer, nullable=False, server_default="0"),
    Column("problem_reason", Text, nullable=False, server_default=""),
    Column("problem", Text, nullable=False, server_default=""),
    Column("problem_since", Time),
)

save_key = Table(  # the password of a server's repository, encrypted under a key that is not in this database
    "save_key",
    metadata,
    Column("server_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("waste_bytes", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Time, nullable=False),
    Column("remove_at", Time),  # set when the server is purged
)

world_lease = Table(  # one job at a time touches a world; the epoch fences what it writes
    "world_lease",
    metadata,
    Column("server_id", Text, primary_key=True),
    Column("operation_id", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Time, nullable=False),
    Index("ix_world_lease_expires_at", "expires_at"),
)

saving_off = Table(  # written before a game is told not to write, removed after it was told to go on
    "saving_off",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("operation_id", Text, nullable=False),
    Column("since", Time, nullable=False),
)

recovery = Table(  # one row: how this installation is brought back if it is lost
    "recovery",
    metadata,
    Column("single", Boolean, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("token", Text, nullable=False),
    Column("key_id", Text, nullable=False),  # as in save_key, of the password of the installation's own repository
    Column("wrapped", Text, nullable=False),
    Column("key_made_at", Time),
    Column("dumped_at", Time),
    Column("dump_bytes", BigInteger, nullable=False, server_default="0"),
    Column("dump_new_bytes", BigInteger, nullable=False, server_default="0"),
    Column("dump_seconds", Double, nullable=False, server_default="0"),
    Column("pruned_at", Time),
    Column("prunes", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=False, server_default=""),
    Column("fence", Text, nullable=False, server_default=""),
    Column("restored", Boolean, nullable=False, server_default="false"),
    CheckConstraint("single", name="single"),
)

every_table = metadata
"""With those of ``tables`` all that there are."""
