"""From keys to jobs: read many servers at once, see what there is of each, plan it, and lease the ports it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter

import structlog

from overworld.controller.addressing import derive_endpoints
from overworld.controller.outcomes import Failed, Outcome, Refused
from overworld.controller.planner import Plan, plan
from overworld.controller.ports import PortFinder
from overworld.controller.rows import Rows
from overworld.controller.seen import see_all
from overworld.controller.subject import Subject
from overworld.domain.addresses import AddressLease, derive_label
from overworld.domain.conditions import Reason, carry_since
from overworld.domain.errors import EngineError, Unavailable
from overworld.domain.observed import Observed
from overworld.domain.offers import Offer
from overworld.domain.operations import OperationKind
from overworld.domain.servers import Network, ServerId
from overworld.engines.base import Engine
from overworld.games.catalogue import Catalogue
from overworld.store.ports import PortLease
from overworld.store.servers import ServerRecord

RETRY_NO_PORT = timedelta(seconds=30)
SAVED_WITHIN = timedelta(minutes=15)
"""A purge waits so long for a save that is under way: a store that is away must not hold it up for ever."""

log = structlog.get_logger(__name__)


def no_trouble(_: ServerId) -> str | None:
    """Where servers have no nodes that could fall silent."""
    return None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a controller works under. ``ports`` are those that servers may be given, ``host`` is where players reach
    them; ``deadline`` bounds the engine's work on one server. ``trouble_of`` says what is to be told of a server whose
    node does not answer."""

    epoch: int
    host: str
    ports: range
    programs_folder: Path | None = None
    offer: Offer = field(default_factory=Offer)
    deadline: timedelta = timedelta(minutes=1)
    trouble_of: Callable[[ServerId], str | None] = no_trouble


@dataclass(frozen=True, slots=True)
class Job:
    """One server in work. ``outcome`` is set where it is known before anything was carried out; ``began`` is a
    reading of ``perf_counter``."""

    record: ServerRecord
    subject: Subject
    observed: Observed
    plan: Plan
    began: float
    outcome: Outcome | None = None

    @property
    def server_id(self) -> ServerId:
        """Whose job it is."""
        return self.subject.server.id


@dataclass(slots=True)
class Prepared:
    """Every key in exactly one place. ``orphans`` have no rows; ``broken`` could not be read or planned (logged)."""

    jobs: list[Job] = field(default_factory=list)
    orphans: list[ServerId] = field(default_factory=list)
    broken: list[ServerId] = field(default_factory=list)


class Preparer:
    """Prepares batches; several at once are fine. What is wrong with one server touches no other."""

    def __init__(
        self, rows: Rows, engine: Engine, catalogue: Catalogue, terms: Terms, clock: Callable[[], datetime]
    ) -> None:
        self._rows = rows
        self._engine = engine
        self._catalogue = catalogue
        self._terms = terms
        self._clock = clock
        self._ports = PortFinder(rows, engine, terms.ports)

    async def prepare(self, keys: Sequence[ServerId]) -> Prepared:
        """The work to do on these servers. Raises ``Unavailable`` if the database does not answer."""
        began = perf_counter()
        prepared = Prepared()
        records = await self._load(keys, prepared)
        for record in records.values():
            self._plan(prepared, record, began)
        prepared.orphans = [key for key in keys if key not in records and key not in prepared.broken]
        lacking = [job for job in prepared.jobs if job.plan.lease_ports]
        if lacking:
            prepared.jobs = [job for job in prepared.jobs if not job.plan.lease_ports]
            await self._lease_ports(prepared, lacking)
        return prepared

    def look_again(self, job: Job) -> Job:
        """The same job, with what is to be seen of its server now."""
        conditions, observed = job.plan.conditions, self._engine.observed(job.server_id)
        if conditions is None or job.plan.purge or job.plan.delete or not observed.complete:
            return job
        subject = self._describe(job.record, observed)
        conditions = carry_since(see_all(subject, observed, self._clock()), subject.status.conditions)
        return replace(job, subject=subject, observed=observed, plan=replace(job.plan, conditions=conditions))

    async def _load(self, keys: Sequence[ServerId], prepared: Prepared) -> Mapping[ServerId, ServerRecord]:
        try:
            return await self._rows.load(keys)
        except Unavailable:
            raise
        except Exception:
            if len(keys) == 1:
                log.exception("a server cannot be read", server_id=keys[0])
                prepared.broken.append(keys[0])
                return {}
            # One of them is what cannot be read: it alone must wait.
            records: dict[ServerId, ServerRecord] = {}
            for key in keys:
                records |= await self._load([key], prepared)
            return records

    def _plan(
        self,
        prepared: Prepared,
        record: ServerRecord,
        began: float,
        otherwise: Outcome | None = None,
    ) -> None:
        """Add the job of a server; ``otherwise`` is its outcome if it still lacks ports."""
        try:
            observed = self._engine.observed(record.server.id)
            subject = self._describe(record, observed)
            decided = plan(subject, observed, self._clock())
        except Exception:
            log.exception("a server cannot be planned", server_id=record.server.id)
            prepared.broken.append(record.server.id)
        else:
            outcome = otherwise if decided.lease_ports else None
            prepared.jobs.append(Job(record, subject, observed, decided, began, outcome))

    def _describe(self, record: ServerRecord, observed: Observed) -> Subject:
        server, offer = record.server, self._terms.offer
        game = self._catalogue.find(server.game)
        network = None if offer.network is None else server.network or offer.network
        address = record.address
        if address is None and offer.leases_addresses and network is Network.STABLE and game is not None:
            # Made before this installation had a cloud: its lease is stored with the address itself.
            address = AddressLease(
                server.id, derive_label(server.name, server.id), ports=len(game.ports), leased_at=self._clock()
            )
        endpoints = derive_endpoints(game, network, record.leases, address, observed=observed, host=self._terms.host)
        return Subject(
            server,
            record.status,
            endpoints,
            game,
            network,
            address,
            trouble=self._terms.trouble_of(server.id),
            is_being_saved=_is_being_saved(record, self._clock()),
        )

    async def _lease_ports(self, prepared: Prepared, lacking: Sequence[Job]) -> None:
        offers: dict[ServerId, Sequence[PortLease]] = {}
        faults: dict[ServerId, Outcome] = {}
        for job in lacking:
            assert job.subject.game is not None  # or it would lack none
            try:
                found = await self._ports.find(job.server_id, job.subject.game.ports)
            except EngineError as error:
                faults[job.server_id] = Failed(error.detail)
                continue
            if found:
                offers[job.server_id] = found
            else:
                faults[job.server_id] = self._no_port()
        leased = await self._rows.lease_offered(offers)
        for job in lacking:
            otherwise = faults.get(job.server_id)
            if otherwise is None:
                otherwise = Failed("Its ports were taken by somebody else in the meantime.")
                if len(leased.get(job.server_id, ())) < len(offers[job.server_id]):
                    self._ports.forget()
            record = replace(job.record, leases=tuple(leased.get(job.server_id, job.record.leases)))
            self._plan(prepared, record, job.began, otherwise)

    def _no_port(self) -> Refused:
        ports = self._terms.ports
        return Refused(
            Reason.NO_PORT_FREE,
            f"Every port from {ports[0]} to {ports[-1]} is in use. Delete a server that is not needed any more, or ask "
            "the operator for a wider port range (OVERWORLD_PORT_RANGE).",
            RETRY_NO_PORT,
        )


def _is_being_saved(record: ServerRecord, now: datetime) -> bool:
    return any(
        operation.kind is OperationKind.SAVE and now - operation.created_at < SAVED_WITHIN
        for operation in record.open_operations
    )
