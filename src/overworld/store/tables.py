"""The tables. Spec rows are written by web, status rows by the controller, activity rows by the monitor."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Time = DateTime(timezone=True)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("max_servers", Integer, nullable=False),
    Column("max_memory_mib", Integer, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("disabled_at", Time),
    CheckConstraint("role IN ('admin', 'user')", name="role"),
)

token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("account.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("label", Text, nullable=False),
    Column("prefix", Text, nullable=False, unique=True),  # the public part, by which a token is looked up
    Column("hash", Text, nullable=False),  # SHA-256 of the whole token: its secret has 256 random bits
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    Column("last_used_at", Time),
    Column("revoked_at", Time),
)

server = Table(
    "server",
    metadata,
    Column("id", Text, primary_key=True),
    Column("number", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("game", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("desired", Text, nullable=False),
    Column("desired_generation", BigInteger, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("variables", JSONB, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("world_generation", Integer, nullable=False),
    Column("newest_world", Integer, nullable=False, server_default="1"),  # no generation is given twice
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
    Column("purge_at", Time),
    Column("files_changed_at", Time),  # somebody may have changed files of the world then, by the API
    Column("storage", Text),  # these three are null where the engine knows no such choice
    Column("disk_mib", Integer),
    Column("network", Text),
    CheckConstraint("desired IN ('running', 'stopped', 'deleted')", name="desired"),
    CheckConstraint("(desired = 'deleted') = (purge_at IS NOT NULL)", name="purge_at"),
    Index("ix_server_account_created", "account_id", "created_at", "id"),
    Index("ix_server_created", "created_at", "id"),
    Index("ix_server_name", "name", "id"),
    # Names are unique among an account's living servers, so that a person can say a name instead of an id.
    Index("uq_server_account_name", "account_id", "name", unique=True, postgresql_where=text("desired <> 'deleted'")),
)

retired_world = Table(
    "retired_world",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("keep_until", Time, nullable=False),
    Column("is_incoming", Boolean, nullable=False, server_default="false"),  # a worker makes it: nothing to undo
)

server_status = Table(
    "server_status",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("observed_generation", BigInteger, nullable=False),
    Column("state", Text, nullable=False, index=True),  # derived (domain.state), kept for filter and sort
    Column("conditions", JSONB, nullable=False),
    Column("endpoints", JSONB, nullable=False),
    Column("world_seen", Integer, nullable=False, server_default="0"),
    Column("place", JSONB),  # where a console finds it in a cluster
    Column("node", Text, index=True),
    Column("updated_at", Time, nullable=False),
)

server_activity = Table(
    "server_activity",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("presence", Text, nullable=False),
    Column("players", Integer),
    Column("max_players", Integer),
    Column("names", JSONB, nullable=False),
    Column("cpu_percent", Double),
    Column("memory_mib", Double),
    Column("disk_mib", Double),
    Column("seen_at", Time, nullable=False),
    Column("last_active_at", Time),
    Column("join_seen_at", Time),
)

usage_sample = Table(  # the history of activity, thinned with age: one row a server and step of time
    "usage_sample",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True),
    Column("resolution", Integer, primary_key=True),  # seconds: 60, 3600 or 86400
    Column("at", Time, primary_key=True),  # start of the step
    Column("samples", Integer, nullable=False),
    Column("players_samples", Integer, nullable=False),  # those of them in which the players were known
    Column("players_max", Integer),
    Column("players_average", Double),
    Column("cpu_percent", Double),
    Column("memory_mib", Double),
    Column("disk_mib", Double),
    Index("ix_usage_sample_resolution_at", "resolution", "at"),
)

usage_hours = Table(  # seconds run a day: what is charged for, so it outlives the server
    "usage_hours",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("server_id", Text, primary_key=True),
    Column("day", Time, primary_key=True),
    Column("running_seconds", Double, nullable=False),
    Column("played_seconds", Double, nullable=False),  # running with somebody on
    Column("memory_mib_seconds", Double, nullable=False),
)

operation = Table(
    "operation",
    metadata,
    Column("id", Text, primary_key=True),
    # No foreign keys: the handle of a deletion must answer after the server is gone.
    Column("server_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),  # the owner of the server, for scoping
    Column("kind", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("ended_at", Time),
    Column("arguments", JSONB, nullable=False, server_default="{}"),
    Column("progress", JSONB),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("cancel_asked_at", Time),
    Index("ix_operation_open", "server_id", postgresql_where=text("outcome = 'running'")),
    Index("ix_operation_created", "created_at", "id"),
    Index("ix_operation_server_created", "server_id", "created_at", "id"),
    Index("ix_operation_account_created", "account_id", "created_at", "id"),
    Index("ix_operation_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)

event = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("server_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("at", Time, nullable=False),
    Column("level", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_event_server_id", "server_id", "id"),
    Index("ix_event_account_id", "account_id", "id"),
    Index("ix_event_at", "at"),
)

port_lease = Table(
    "port_lease",
    metadata,
    Column("protocol", Text, primary_key=True),
    Column("port", Integer, primary_key=True),
    Column("server_id", Text, ForeignKey("server.id", ondelete="RESTRICT"), nullable=False),
    Column("name", Text, nullable=False),
    Index("uq_port_lease_server_id_name", "server_id", "name", unique=True),
)

# A public address of a server's own. Leased by web in the transaction that makes the server; what the cloud made of it
# is written by the controller. RESTRICT: no server's row may go while its address costs money.
address = Table(
    "address",
    metadata,
    Column("server_id", Text, ForeignKey("server.id", ondelete="RESTRICT"), primary_key=True),
    Column("label", Text, nullable=False, unique=True),
    Column("ports", Integer, nullable=False),
    Column("resource", Text),
    Column("ip", Text),
    Column("fqdn", Text),
    Column("annotations", JSONB, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("leased_at", Time, nullable=False),
    Column("checked_at", Time),
)

cloud_report = Table(  # what the controller last heard of the cloud, for web, which has no rights there
    "cloud_report",
    metadata,
    Column("name", Text, primary_key=True),  # 'capacity' or 'sweep'
    Column("content", JSONB, nullable=False),
    Column("seen_at", Time, nullable=False),
)

node = Table(  # machines of the cluster that carry games: written by the controller
    "node",
    metadata,
    Column("name", Text, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("provider_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("since", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
)

node_word = Table(  # what an operator has said of a node: written by web. Of one life of it, hence the uid
    "node_word",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("word", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("said_at", Time, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # grows with every change of holder: fences status writes
    Column("expires_at", Time, nullable=False),
)

# Written in the transaction that does the work: a request that died left no row, one that is still running is known
# by an advisory lock.
idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),  # SHA-256 of the body
    Column("status", Integer, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
)
