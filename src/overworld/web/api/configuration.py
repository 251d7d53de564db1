"""Revisions of a server's configuration: listed, compared, brought back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import Field

from overworld.domain.errors import NotFound
from overworld.domain.revisions import VARIABLE, Change, Revision, compare_settings, compare_texts, flatten
from overworld.games.catalogue import Catalogue
from overworld.services import configuration as service
from overworld.store import revisions as rows
from overworld.store import servers as server_rows
from overworld.store.database import Transaction
from overworld.web.api.file_changes import permit_writing, write_file
from overworld.web.api.files import UNSAVED_WORDS, FilePath
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import Asked, Flag, PageAsked, Shown

routes = Routes("configuration", "Revisions of a server's configuration.")

SettingValue = str | int | bool | None


class RevisionEntry(Shown):
    """What a server's configuration became."""

    revision: int
    at: datetime
    by: str = Field(description="Who changed it; empty: it was so when Overworld looked.")
    path: str | None = Field(description="The file of the world that it is about; null: the server's settings.")
    changed: list[str] = Field(description="Names of the settings that differ from the revision before, or the file.")
    restored_from: int | None = Field(description="The revision that this one brought back.")


class RevisionList(Shown):
    """A page of revisions."""

    items: list[RevisionEntry]
    next_page_token: str | None


class RevisionsAsked(PageAsked):
    """Which revisions."""

    path: FilePath | None = Field(default=None, description="Only of this file of the world.")


class RestoreAsked(Asked):
    """How to restore."""

    unsaved: Flag = Field(default=False, description=f"Of a file: {UNSAVED_WORDS[0].lower()}{UNSAVED_WORDS[1:]}")


class SettingChange(Shown):
    """One setting that differs from the revision before."""

    name: str = Field(examples=["memory_mib", "variables.motd"])
    before: SettingValue = Field(description="Null: it was not there, or it is a secret.")
    after: SettingValue = Field(description="Null: it is not there any more, or it is a secret.")
    secret: bool = Field(description="Nobody is shown its values.")


class RevisionShown(RevisionEntry):
    """One revision: all settings, or the text of the file, and how that differs from the revision before."""

    previous: int | None = Field(description="The revision before of the same; null for the first.")
    settings: dict[str, SettingValue] = Field(description="By name; of secrets null. Empty for a file.")
    changes: list[SettingChange]
    text: str | None = Field(description="Of the file.")
    diff: str | None = Field(
        description="Of the file, unified; null for the first, and where it is too long to compare."
    )


@routes.route(
    "GET",
    "/servers/<server_id>/config/revisions",
    Answer(200, "A page, newest first.", RevisionList),
    query=RevisionsAsked,
)
def list_revisions(call: Call, server_id: str, query: RevisionsAsked) -> Reply:
    """List the revisions of a server's configuration, also of one that is gone, for as long as its saves are kept."""
    page = rows.list_revisions(
        call.tx,
        server_id,
        scope=call.actor.scope,
        path=query.path,
        page_size=query.page_size,
        page_token=query.page_token,
    )
    if not page.items and server_rows.load_server(call.tx, server_id, call.actor.scope) is None:
        raise NotFound("There is no such server.")
    items = [RevisionEntry(**_entry(each)) for each in page.items]
    return Reply(200, RevisionList(items=items, next_page_token=page.next_token))


@routes.route("GET", "/servers/<server_id>/config/revisions/<revision>", Answer(200, "The revision.", RevisionShown))
def show(call: Call, server_id: str, revision: str) -> Reply:
    """Show one revision, and how it differs from the one before. Values of secrets are never shown."""
    return _shown(call, call.tx, server_id, int(revision))


@routes.route(
    "POST",
    "/servers/<server_id>/config/revisions/<revision>/restore",
    Answer(200, "The new revision, or the newest one where nothing had to be changed.", RevisionShown),
    query=RestoreAsked,
    problems=(403,),
)
def restore(call: Call, server_id: str, revision: str, query: RestoreAsked) -> Reply | Callable[[], Reply]:
    """Bring an earlier configuration back, as a new revision.

    Of settings: name, memory and variables are as they were then; they take effect at the next start, as an edit does.
    A disk never shrinks. Of a file: it is written as it was, as by an edit of its text.
    """
    number = int(revision)
    target, _ = service.find(call.tx, call.actor, server_id, number)
    if target.path is None:
        catalogue = call.installation.catalogue
        made = service.restore(call.tx, call.actor, catalogue, server_id, number=number, now=call.now)
        return _shown(call, call.tx, server_id, made.number)
    phrase = f"restored {target.path} as it was in revision {number}"
    permit = permit_writing(call, server_id, target.path, phrase, unsaved=query.unsaved)

    def write() -> Reply:
        _, written = write_file(call, permit, [target.content["text"].encode()], restored_from=number)
        if written is None:
            raise NotFound("The server is gone.")
        with call.installation.database.transaction() as tx:
            return _shown(call, tx, server_id, written.number)

    return write


def _shown(call: Call, tx: Transaction, server_id: str, number: int) -> Reply:
    found, previous = service.find(tx, call.actor, server_id, number)
    entry = {**_entry(found), "previous": None if previous is None else previous.number}
    if found.path is not None:
        text = found.content["text"]
        diff = None if previous is None else compare_texts(previous.content["text"], text)
        return Reply(200, RevisionShown(**entry, settings={}, changes=[], text=text, diff=diff))
    secrets = _find_secrets(found, call.installation.catalogue)
    changes = () if previous is None else compare_settings(previous.content, found.content, secrets)
    settings = flatten(found.content)
    shown = RevisionShown(
        **entry,
        settings=settings | {f"{VARIABLE}{name}": None for name in secrets if f"{VARIABLE}{name}" in settings},
        changes=[_show_change(change) for change in changes],
        text=None,
        diff=None,
    )
    return Reply(200, shown)


def _entry(revision: Revision) -> dict[str, Any]:
    return {
        "revision": revision.number,
        "at": revision.at,
        "by": revision.by,
        "path": revision.path,
        "changed": list(revision.changed),
        "restored_from": revision.restored_from,
    }


def _show_change(change: Change) -> SettingChange:
    return SettingChange.model_validate(
        {"name": change.name, "before": change.before, "after": change.after, "secret": change.is_secret}
    )


def _find_secrets(revision: Revision, catalogue: Catalogue) -> set[str]:
    """Names of variables whose values are shown to nobody: where the game is not known any more, of all."""
    game = catalogue.find(str(revision.content["game"]))
    if game is None:
        return set(revision.content["variables"])
    known = {variable.name: variable.is_secret for variable in game.variables}
    return {name for name in (*revision.content["variables"], *known) if known.get(name, True)}
