"""Lists of servers: one statement, every filter and sort, pages that hold still while rows come and go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from conftest import StatementCounter
from overworld.domain.accounts import Account
from overworld.domain.errors import BadInput
from overworld.domain.servers import Server
from overworld.domain.state import State
from overworld.store.database import Database
from overworld.store.server_lists import SORTS, ServerFilters, list_servers
from overworld.store.tables import server_status


def names(database: Database, **asked: Any) -> list[str]:
    """The names of every page, two a page."""
    found: list[str] = []
    token = None
    with database.transaction() as tx:
        while True:
            page = list_servers(tx, **{"scope": None, "page_size": 2, **asked}, page_token=token)
            found += [view.server.name for view in page.items]
            token = page.next_token
            if token is None:
                return found


@pytest.fixture
def five(
    database: Database,
    account: Account,
    make_account: Callable[..., Account],
    make_server: Callable[..., Server],
    now: datetime,
) -> list[Server]:
    """Five servers of two accounts; c and e were made at the same time, e and a run, b was deleted."""
    other = make_account("bob")
    made = [
        make_server(account, "c", now=now + timedelta(hours=3)),
        make_server(account, "A_x", now=now + timedelta(hours=1), game="openttd"),
        make_server(other, "d%", now=now + timedelta(hours=2)),
        make_server(account, "b", now=now + timedelta(hours=4)),
        make_server(other, "e", now=now + timedelta(hours=3)),
    ]
    with database.transaction() as tx:
        tx.execute(
            text("UPDATE server SET desired = 'deleted', purge_at = :now WHERE name = 'b'"),
            {"now": now},
        )
        for server, state in ((made[4], State.RUNNING), (made[1], State.RUNNING), (made[0], State.STOPPED)):
            tx.execute(
                insert(server_status).values(
                    server_id=server.id, observed_generation=1, state=state, conditions=[], endpoints=[], updated_at=now
                )
            )
    return made


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["A_x", "b", "c", "d%", "e"]),
        ("-name", ["e", "d%", "c", "b", "A_x"]),
        ("created_at", ["A_x", "d%", "ce", "b"]),
        ("-created_at", ["b", "ce", "d%", "A_x"]),
        ("state", ["bd%", "A_xe", "c"]),
        ("-state", ["c", "A_xe", "bd%"]),
    ],
)
def test_each_sort_is_total(database: Database, five: list[Server], sort: str, expected: list[str]) -> None:
    """Equal keys (written together here) come in the order of their ids; every server comes once."""
    found = names(database, sort=sort, filters=ServerFilters(deleted=None))
    groups = {
        name: number for number, group in enumerate(expected) for name in ("A_x", "b", "c", "d%", "e") if name in group
    }
    assert sorted(found) == ["A_x", "b", "c", "d%", "e"]
    assert [groups[name] for name in found] == sorted(groups.values())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (ServerFilters(), {"A_x", "c", "d%", "e"}),
        (ServerFilters(deleted=True), {"b"}),
        (ServerFilters(deleted=None), {"A_x", "b", "c", "d%", "e"}),
        (ServerFilters(states=frozenset({State.RUNNING})), {"A_x", "e"}),
        (ServerFilters(states=frozenset({State.RUNNING, State.PENDING})), {"A_x", "e", "d%"}),
        (ServerFilters(states=frozenset({State.FAILED})), set()),
        (ServerFilters(game="openttd"), {"A_x"}),
        (ServerFilters(name_contains="a_X"), {"A_x"}),
        (ServerFilters(name_contains="%"), {"d%"}),
        (ServerFilters(name_contains="_"), {"A_x"}),
        (ServerFilters(name_contains="\\"), set()),
        (ServerFilters(owner="bob"), {"d%", "e"}),
        (ServerFilters(owner="bob", states=frozenset({State.RUNNING})), {"e"}),
        (ServerFilters(owner="nobody"), set()),
    ],
)
def test_each_filter_narrows(
    database: Database, five: list[Server], filters: ServerFilters, expected: set[str]
) -> None:
    """With each sort; what looks like a pattern is plain text."""
    for sort in SORTS:
        found = names(database, filters=filters, sort=sort)
        assert set(found) == expected
        assert len(found) == len(expected)


def test_the_scope_wins_over_the_owner_filter(database: Database, five: list[Server], account: Account) -> None:
    """Nobody lists another's servers by asking for them."""
    assert set(names(database, scope=account.id)) == {"A_x", "c"}
    assert names(database, scope=account.id, filters=ServerFilters(owner="bob")) == []
    assert set(names(database, filters=ServerFilters(owner=account.id))) == {"A_x", "c"}


def test_rows_that_come_and_go_do_not_shift_the_others(
    database: Database, account: Account, make_server: Callable[..., Server], now: datetime
) -> None:
    """Between two pages servers are added before and after the cursor, and the last seen one goes: what was there
    all along comes exactly once."""
    for number in range(10):
        make_server(account, f"m{number}", now=now + timedelta(minutes=number))
    with database.transaction() as tx:
        first = list_servers(tx, scope=None, sort="created_at", page_size=5)
    make_server(account, "before", now=now - timedelta(minutes=1))
    make_server(account, "after", now=now + timedelta(minutes=99))
    with database.transaction() as tx:
        tx.execute(text("DELETE FROM server WHERE name = 'm4'"))
        second = list_servers(tx, scope=None, sort="created_at", page_size=50, page_token=first.next_token)
    assert [view.server.name for view in first.items] == [f"m{number}" for number in range(5)]
    assert [view.server.name for view in second.items] == [*(f"m{number}" for number in range(5, 10)), "after"]
    assert second.next_token is None


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_is_one_statement(
    database: Database, five: list[Server], statement_counter: StatementCounter, sort: str
) -> None:
    """First page or later one, filtered or not."""
    with statement_counter(database) as statements, database.transaction() as tx:
        page = list_servers(tx, scope=None, sort=sort, page_size=2)
        assert len(statements) == 1
        filters = ServerFilters(states=frozenset({State.RUNNING}), owner="bob", name_contains="e", game="luanti")
        list_servers(tx, scope=None, filters=filters, sort=sort, page_size=2, page_token=page.next_token)
    assert len(statements) == 2


def test_bad_questions_are_bad_input(database: Database, five: list[Server]) -> None:
    """An unknown sort, a token of another sort, a page of no size."""
    with database.transaction() as tx:
        token = list_servers(tx, scope=None, sort="name", page_size=1).next_token
        with pytest.raises(BadInput, match="-created_at"):
            list_servers(tx, scope=None, sort="name; DROP TABLE server")
        with pytest.raises(BadInput, match="page token"):
            list_servers(tx, scope=None, sort="-name", page_token=token)
        with pytest.raises(BadInput, match="1 to 1000"):
            list_servers(tx, scope=None, page_size=0)


def test_a_page_of_ten_thousand_reads_about_a_page(database: Database, account: Account, now: datetime) -> None:
    """PostgreSQL walks an index and stops: at no point of the plan there are more rows than a page has."""
    with database.transaction() as tx:
        tx.execute(
            text("""
                INSERT INTO server (id, account_id, name, game, generation, desired, desired_generation, restarts,
                    variables, memory_mib, world_generation, created_at, updated_at)
                SELECT 's' || n, :account, 'n' || n, 'luanti', 1, 'running', 1, 0, '{}', 1, 1,
                    CAST(:now AS timestamptz) + make_interval(secs => n), :now
                FROM generate_series(1, 10000) AS n
            """),
            {"account": account.id, "now": now},
        )
        tx.execute(text("ANALYZE server"))
        for sort in ("name", "-name", "created_at", "-created_at"):
            for scope in (None, account.id):
                page = list_servers(tx, scope=scope, sort=sort, page_size=50)
                statements: list[tuple[str, Any]] = []
                plan = _explain(tx, scope, sort, page.next_token, statements)
                assert _most_rows(plan) <= 51, (sort, scope)


def _explain(tx: Any, scope: str | None, sort: str, token: str | None, statements: list[Any]) -> dict[str, Any]:
    """The plan, with real numbers of rows, of the statement that ``list_servers`` sends."""

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        statements.append((statement, parameters))

    event.listen(tx.engine, "before_cursor_execute", keep)
    list_servers(tx, scope=scope, sort=sort, page_size=50, page_token=token)
    event.remove(tx.engine, "before_cursor_execute", keep)
    statement, parameters = statements[-1]
    result = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
    plan: dict[str, Any] = result[0]["Plan"]
    return plan


def _most_rows(plan: dict[str, Any]) -> int:
    rows: int = max(plan["Actual Rows"] * plan["Actual Loops"], *map(_most_rows, plan.get("Plans", [])), 0)
    return rows
