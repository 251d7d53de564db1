"""Domain values to and from JSON columns, and rows to dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import RowMapping

from overworld.domain.accounts import Account, Quota, Role, Token
from overworld.domain.activity import Activity, Presence
from overworld.domain.addresses import AddressLease
from overworld.domain.conditions import Condition, ConditionType, Truth
from overworld.domain.exits import Exit
from overworld.domain.games import Protocol
from overworld.domain.operations import Operation, OperationKind, Outcome, Progress
from overworld.domain.saves import SaveHealth
from overworld.domain.servers import Desired, Endpoint, Network, Place, RetiredWorld, Server, Status
from overworld.domain.worlds import Storage

Json = dict[str, Any]
Values: TypeAlias = Mapping[str, Any] | RowMapping


def clean_text(seen: str) -> str:
    """What was seen (a game's output, a player's name) as PostgreSQL can hold it: NUL and half surrogate pairs become
    replacement characters, so that one strange line never spoils a batch. What people ask for is refused instead."""
    return seen.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def write_condition(condition: Condition) -> Json:
    """As it is stored."""
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": clean_text(condition.message),
        "observed_generation": condition.observed_generation,
        "since": condition.since.isoformat(),
    }


def read_condition(value: Json) -> Condition:
    """The condition that ``write_condition`` wrote."""
    return Condition(
        type=ConditionType(value["type"]),
        status=Truth(value["status"]),
        reason=value["reason"],
        message=value["message"],
        observed_generation=value["observed_generation"],
        since=datetime.fromisoformat(value["since"]),
    )


def write_endpoint(endpoint: Endpoint) -> Json:
    """As it is stored."""
    written: Json = {"name": endpoint.name, "protocol": endpoint.protocol, "host": endpoint.host, "port": endpoint.port}
    return written if endpoint.dns_name is None else {**written, "dns_name": endpoint.dns_name}


def read_endpoint(value: Json) -> Endpoint:
    """The endpoint that ``write_endpoint`` wrote."""
    return Endpoint(
        value["name"], Protocol(value["protocol"]), value["host"], value["port"], dns_name=value.get("dns_name")
    )


def write_place(place: Place | None) -> Json | None:
    """As it is stored."""
    if place is None:
        return None
    end = place.last_exit
    return {
        "pod": place.pod,
        "takes_commands": place.takes_commands,
        "runs": place.runs,
        "last_exit": None
        if end is None
        else {
            "at": end.at.isoformat(),
            "status": end.status,
            "signal": end.signal,
            "asked": end.asked,
            "save_seen": end.save_seen,
            "out_of_memory": end.out_of_memory,
            "lines": [clean_text(line) for line in end.lines],
            "lost_with": end.lost_with,
        },
    }


def read_place(value: Json | None) -> Place | None:
    """The place that ``write_place`` wrote."""
    if value is None:
        return None
    end = value["last_exit"]
    if end is not None:
        end = Exit(**{**end, "at": datetime.fromisoformat(end["at"]), "lines": tuple(end["lines"])})
    return Place(value["pod"], value["takes_commands"], value["runs"], end)


def read_address(value: Values) -> AddressLease:
    """The lease of a row of its table; its times may be texts, as JSON has them."""
    return AddressLease(
        server_id=value["server_id"],
        label=value["label"],
        ports=value["ports"],
        leased_at=read_time(value["leased_at"]),
        resource=value["resource"],
        ip=value["ip"],
        fqdn=value["fqdn"],
        annotations=value["annotations"],
        attempt=value["attempt"],
        checked_at=None if value["checked_at"] is None else read_time(value["checked_at"]),
    )


def read_status(
    *,
    observed_generation: int,
    conditions: Iterable[Json],
    endpoints: Iterable[Json],
    updated_at: datetime | None,
    world_seen: int,
    place: Json | None,
    node: str | None,
) -> Status:
    """The status of the columns of a status row."""
    return Status(
        observed_generation=observed_generation,
        conditions=tuple(read_condition(condition) for condition in conditions),
        endpoints=tuple(read_endpoint(endpoint) for endpoint in endpoints),
        updated_at=updated_at,
        world_seen=world_seen,
        place=read_place(place),
        node=node,
    )


def read_server(value: Values, retired_worlds: Iterable[Json]) -> Server:
    """The server of a row of the table ``server`` and of ``retired_worlds`` as JSON."""
    return Server(
        id=value["id"],
        number=value["number"],
        account_id=value["account_id"],
        name=value["name"],
        game=value["game"],
        generation=value["generation"],
        desired=Desired(value["desired"]),
        desired_generation=value["desired_generation"],
        restarts=value["restarts"],
        variables=value["variables"],
        memory_mib=value["memory_mib"],
        world_generation=value["world_generation"],
        retired_worlds=tuple(
            RetiredWorld(world["generation"], read_time(world["keep_until"]), world["is_incoming"])
            for world in retired_worlds
        ),
        created_at=value["created_at"],
        updated_at=value["updated_at"],
        deleted_at=value["deleted_at"],
        purge_at=value["purge_at"],
        storage=None if value["storage"] is None else Storage(value["storage"]),
        disk_mib=value["disk_mib"],
        network=None if value["network"] is None else Network(value["network"]),
        files_changed_at=None if value["files_changed_at"] is None else read_time(value["files_changed_at"]),
    )


def read_operation(value: Values) -> Operation:
    """The operation of a row of its table; its times may be texts, as JSON has them."""
    return Operation(
        id=value["id"],
        server_id=value["server_id"],
        account_id=value["account_id"],
        kind=OperationKind(value["kind"]),
        generation=value["generation"],
        created_at=read_time(value["created_at"]),
        outcome=Outcome(value["outcome"]),
        reason=value["reason"],
        message=value["message"],
        ended_at=None if value["ended_at"] is None else read_time(value["ended_at"]),
        arguments=value["arguments"],
        progress=None if value["progress"] is None else Progress(**value["progress"]),
        attempts=value["attempts"],
        cancel_asked_at=None if value["cancel_asked_at"] is None else read_time(value["cancel_asked_at"]),
    )


def read_activity(value: Values) -> Activity:
    """The activity of a row of its table."""
    return Activity(
        presence=Presence(value["presence"]),
        players=value["players"],
        max_players=value["max_players"],
        names=tuple(value["names"]),
        cpu_percent=value["cpu_percent"],
        memory_mib=value["memory_mib"],
        disk_mib=value["disk_mib"],
        seen_at=value["seen_at"],
        last_active_at=value["last_active_at"],
        join_seen_at=value["join_seen_at"],
    )


def read_account(value: Values) -> Account:
    """The account of a row of its table."""
    return Account(
        id=value["id"],
        name=value["name"],
        role=Role(value["role"]),
        quota=Quota(servers=value["max_servers"], memory_mib=value["max_memory_mib"]),
        created_at=value["created_at"],
        disabled_at=value["disabled_at"],
    )


def read_token(value: Values) -> Token:
    """The token of a row of its table, without its hash."""
    return Token(
        id=value["id"],
        account_id=value["account_id"],
        label=value["label"],
        prefix=value["prefix"],
        created_at=value["created_at"],
        expires_at=value["expires_at"],
        last_used_at=value["last_used_at"],
        revoked_at=value["revoked_at"],
    )


def read_time(value: datetime | str) -> datetime:
    """A time in UTC, from a column or from PostgreSQL's JSON."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.astimezone(UTC)


def read_health(row: Values) -> SaveHealth:
    """The health of a row of its table."""

    def time(name: str) -> datetime | None:
        return None if row[name] is None else read_time(row[name])

    return SaveHealth(
        last_saved_at=time("last_saved_at"),
        last_proven_at=time("last_proven_at"),
        last_checked_at=time("last_checked_at"),
        problem_reason=row["problem_reason"],
        problem=row["problem"],
        problem_since=time("problem_since"),
        checks=row["checks"],
    )
