"""What an owner can ask of a server."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import datetime, timedelta

from overworld.domain.accounts import Actor
from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.errors import BadInput, Conflict, NotFound, PreconditionFailed
from overworld.domain.games import Game, Value
from overworld.domain.offers import Offer
from overworld.domain.operations import Operation, OperationKind
from overworld.domain.saves import SaveReason
from overworld.domain.servers import NOT_YET_SEEN, Desired, Network, Server
from overworld.domain.state import State, derive_state
from overworld.domain.worlds import Storage
from overworld.games.catalogue import Catalogue
from overworld.games.variables import check_variables
from overworld.services import quota
from overworld.services.addresses import promise_address
from overworld.services.choices import check_same, choose_disk_mib, choose_network, choose_storage, grown_disk_mib
from overworld.services.intents import record_intent
from overworld.services.jobs import open_job
from overworld.services.names import clean_name
from overworld.services.revisions import record_edit, record_first
from overworld.services.unsaved import is_saved
from overworld.store import servers as rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView

MAX_RETENTION = timedelta(days=365)
MAX_MEMORY_MIB = 1024 * 1024


def version_of(server: Server) -> str:
    """What an edit changes of a server, in a few characters: for ETags."""
    return str(server.generation)


def create(
    tx: Transaction,
    actor: Actor,
    catalogue: Catalogue,
    *,
    name: str,
    game: str,
    variables: Mapping[str, object],
    memory_mib: int | None,
    start: bool,
    offer: Offer,
    now: datetime,
    storage: Storage | None = None,
    disk_mib: int | None = None,
    network: Network | None = None,
) -> tuple[ServerView, Operation]:
    """A new server of the actor's own, wanted running if ``start``; with it an operation that follows it.

    ``variables`` left out take the game's defaults, so does ``memory_mib`` (MiB); ``storage``, ``disk_mib`` and
    ``network`` left out are what suits game and installation. Raises BadInput for anything of them that cannot be,
    Conflict if the actor has a living server of that name, QuotaExceeded, and CapacityExhausted if the installation
    has no address left.
    """
    entry = _offered_game(catalogue, game)
    name = clean_name(name)
    values = check_variables(entry, variables)
    memory = entry.memory.default_mib if memory_mib is None else _checked_memory(entry, memory_mib)
    storage = choose_storage(offer, entry, storage)
    disk_mib = choose_disk_mib(offer, entry, storage, disk_mib)
    network = choose_network(offer, network)
    quota.check_room(tx, actor.account_id, servers=1, memory_mib=memory)
    server = rows.insert_server(
        tx,
        account_id=actor.account_id,
        name=name,
        game=entry.slug,
        desired=Desired.RUNNING if start else Desired.STOPPED,
        variables=values,
        memory_mib=memory,
        storage=storage,
        disk_mib=disk_mib,
        network=network,
        now=now,
    )
    record_first(tx, actor, server, now)
    promise_address(tx, offer, server, entry, now)
    operation = record_intent(tx, actor, server, OperationKind.CREATE, now)
    view = ServerView(
        server=server,
        status=NOT_YET_SEEN,
        state=derive_state(server, NOT_YET_SEEN),
        activity=None,
        owner_name=actor.name,
    )
    return view, operation


def edit(
    tx: Transaction,
    actor: Actor,
    catalogue: Catalogue,
    server_id: str,
    *,
    expected: Set[str] | None,
    name: str | None,
    variables: Mapping[str, object] | None,
    memory_mib: int | None,
    now: datetime,
    disk_mib: int | None = None,
    storage: Storage | None = None,
    network: Network | None = None,
    restored_from: int | None = None,
) -> ServerView:
    """The server with what is not None changed; what runs keeps running and takes it up at its next start, but for
    its disk: that grows at once. ``storage`` and ``network`` can only be named as they are.

    ``variables`` are laid over the present ones; None as a value sets one back to the game's default. With
    ``expected`` versions (``version_of``) and the present one not among them: PreconditionFailed. An edit that changes
    nothing writes nothing; any other is a revision of the configuration, one that brings back ``restored_from`` where
    that is said. Raises BadInput, NotFound, QuotaExceeded, and Conflict for a name that is taken or a deleted
    server.
    """
    # The account is locked before the server, as in create and undelete: two orders would be a deadlock.
    if memory_mib is not None:
        quota.lock(tx, _find(tx, actor, server_id).server.account_id)
    view = _lock(tx, actor, server_id)
    server = view.server
    if expected is not None and version_of(server) not in expected:
        raise PreconditionFailed("The server was changed since you read it. Read it again and repeat the edit.")
    if server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    check_same(server, storage=storage, network=network)
    changed = replace(server, name=server.name if name is None else clean_name(name))
    if disk_mib is not None:
        changed = replace(changed, disk_mib=grown_disk_mib(server, disk_mib))
    if variables is not None or memory_mib is not None:
        entry = _offered_game(catalogue, server.game)
        if variables is not None:
            changed = replace(changed, variables=_laid_over(entry, server.variables, variables))
        if memory_mib is not None:
            memory = _checked_memory(entry, memory_mib)
            quota.check_room(tx, server.account_id, servers=0, memory_mib=memory - server.memory_mib)
            changed = replace(changed, memory_mib=memory)
    if changed != server:
        changed = replace(changed, generation=server.generation + 1, updated_at=now)
        rows.update_server(tx, changed, expected_generation=server.generation)
        record_edit(tx, actor, server, changed, now, restored_from=restored_from)
    return replace(view, server=changed)


def start(tx: Transaction, actor: Actor, server_id: str, now: datetime) -> Operation:
    """The server wanted running. Asked of one that crashed or failed, it is started anew at once instead of after its
    pause. Safe to repeat. Raises NotFound, and Conflict for a deleted server."""
    view = _living(tx, actor, server_id)
    failed = view.server.desired is Desired.RUNNING and view.state is State.FAILED
    restarts = view.server.restarts + (1 if failed else 0)
    return _wish(tx, actor, view.server, OperationKind.START, now, desired=Desired.RUNNING, restarts=restarts)


def stop(tx: Transaction, actor: Actor, server_id: str, now: datetime) -> Operation:
    """The server wanted stopped: the game is asked to save and quit. Safe to repeat. Raises NotFound, Conflict."""
    view = _living(tx, actor, server_id)
    return _wish(tx, actor, view.server, OperationKind.STOP, now, desired=Desired.STOPPED)


def restart(tx: Transaction, actor: Actor, server_id: str, now: datetime) -> Operation:
    """The server stopped, then running again (a stopped one is started). Each call is one more restart.
    Raises NotFound, and Conflict for a deleted server."""
    server = _living(tx, actor, server_id).server
    return _wish(tx, actor, server, OperationKind.RESTART, now, desired=Desired.RUNNING, restarts=server.restarts + 1)


def delete(
    tx: Transaction,
    actor: Actor,
    server_id: str,
    retention: timedelta,
    now: datetime,
    *,
    has_workers: bool = False,
) -> Operation:
    """The server stopped for good, its world kept for ``retention`` (0 to 365 days) and then removed. Where the
    installation ``has_workers`` the world is saved at its end, if there is anything in it that is not.

    Deleting a deleted server sets its retention anew, counted from now. Raises NotFound, BadInput, and Conflict if it
    should be kept longer but its world is being removed already.
    """
    if not timedelta(0) <= retention <= MAX_RETENTION:
        raise BadInput("The retention must be between 0 and 365 days.")
    view = _lock(tx, actor, server_id)
    server = view.server
    if retention and _is_being_removed(view):
        raise Conflict("Too late: its retention has passed and its world is being removed.")
    deleted_at = server.deleted_at or now
    wish = replace(server, deleted_at=deleted_at, purge_at=now + retention)
    if has_workers and server.desired is not Desired.DELETED and not is_saved(tx, view):
        arguments = {"reason": SaveReason.BEFORE_DELETE.value, "label": "", "pinned": False}
        # Lists are in the order of these times: the delete comes before the save that it asks for.
        open_job(tx, server, OperationKind.SAVE, arguments, now + timedelta(microseconds=1))
    return _wish(tx, actor, wish, OperationKind.DELETE, now, desired=Desired.DELETED)


def undelete(tx: Transaction, actor: Actor, server_id: str, now: datetime) -> Operation:
    """The deleted server back again, stopped, with its world. Its memory and place never left the account's quota.

    Raises NotFound, and Conflict if it is not deleted, if its retention has passed (the world is being removed), or if
    another living server took its name.
    """
    view = _lock(tx, actor, server_id)
    server = view.server
    if server.desired is not Desired.DELETED:
        raise Conflict("The server is not deleted.")
    if _is_being_removed(view) or (server.purge_at is not None and server.purge_at <= now):
        raise Conflict("Too late: the time for undoing has passed and its world is being removed.")
    wish = replace(server, deleted_at=None, purge_at=None)
    return _wish(tx, actor, wish, OperationKind.UNDELETE, now, desired=Desired.STOPPED)


def _is_being_removed(view: ServerView) -> bool:
    """Whether the controller has said that it removes the world; from then on nothing can be promised of it."""
    placed = find_condition(view.status.conditions, ConditionType.PLACED)
    return view.server.desired is Desired.DELETED and placed is not None and placed.reason == Reason.PURGED


def _wish(
    tx: Transaction,
    actor: Actor,
    server: Server,
    kind: OperationKind,
    now: datetime,
    *,
    desired: Desired,
    restarts: int | None = None,
) -> Operation:
    """Store a new wish and its operation. A wish equal to the one before is stored all the same: its operation
    then ends at the next look, with what is true then."""
    generation = server.generation + 1
    wished = replace(
        server,
        desired=desired,
        restarts=server.restarts if restarts is None else restarts,
        generation=generation,
        desired_generation=generation,
        updated_at=now,
    )
    rows.update_server(tx, wished, expected_generation=server.generation)
    return record_intent(tx, actor, wished, kind, now)


def _offered_game(catalogue: Catalogue, slug: str) -> Game:
    entry = catalogue.find(slug)
    if entry is None:
        known = ", ".join(game.slug for game in catalogue.games())
        says = f"there is no such game; there are: {known}"
        raise BadInput(f"Game: {says}.", errors=[{"at": "/game", "says": says}])
    return entry


def _checked_memory(game: Game, memory_mib: int) -> int:
    if not game.memory.minimum_mib <= memory_mib <= MAX_MEMORY_MIB:
        says = f"must be between {game.memory.minimum_mib} (the least for {game.title}) and {MAX_MEMORY_MIB} MiB"
        raise BadInput(f"The memory {says}.", errors=[{"at": "/memory_mib", "says": says}])
    return memory_mib


def _laid_over(game: Game, present: Mapping[str, Value], given: Mapping[str, object]) -> dict[str, Value]:
    """The new variables. What is stored but no longer known to the game (its entry changed) is dropped."""
    merged: dict[str, object] = {name: value for name, value in present.items() if game.variable(name) is not None}
    merged.update(given)
    unset = {name for name, value in given.items() if value is None and game.variable(name) is not None}
    return check_variables(game, {name: value for name, value in merged.items() if name not in unset})


def _find(tx: Transaction, actor: Actor, server_id: str) -> ServerView:
    view = rows.load_server(tx, server_id, actor.scope)
    if view is None:
        raise NotFound("There is no such server.")
    return view


def _lock(tx: Transaction, actor: Actor, server_id: str) -> ServerView:
    """The server, its row locked until the transaction ends, so that wishes come one after another."""
    view = rows.lock_server(tx, server_id, actor.scope)
    if view is None or view.server.id != server_id:
        raise NotFound("There is no such server.")
    return view


def _living(tx: Transaction, actor: Actor, server_id: str) -> ServerView:
    view = _lock(tx, actor, server_id)
    if view.server.desired is Desired.DELETED:
        raise Conflict("The server is deleted. Undelete it first.")
    return view
