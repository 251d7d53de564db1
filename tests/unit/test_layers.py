"""What import-linter (pyproject.toml, run by ``make check``) cannot say about imports."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "overworld"
PURE = {
    "__future__", "abc", "base64", "collections", "contextlib", "copy", "dataclasses", "datetime", "difflib", "enum",
    "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json", "math", "operator", "re", "string",
    "types", "typing", "unicodedata",
}  # fmt: skip


def imported_modules(file: Path) -> set[str]:
    """The full names of everything that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", sorted((SOURCE / "domain").rglob("*.py")), ids=lambda file: file.stem)
def test_the_domain_reads_nothing_of_the_world(file: Path) -> None:
    """The domain imports itself and the pure part of the standard library: no clock, chance, file or network."""
    foreign = {
        name
        for name in imported_modules(file)
        if name.split(".")[0] not in PURE and not name.startswith("overworld.domain")
    }
    assert foreign == set()


@pytest.mark.parametrize("name", ["keeper", "agent"])
def test_what_images_carry_stands_alone(name: str) -> None:
    """Keeper and agent are one file of the standard library each, since they run where nothing else of Overworld is
    installed."""
    modules = imported_modules(SOURCE / "engines" / f"{name}.py")
    assert {name for name in modules if name.split(".")[0] not in sys.stdlib_module_names} == set()


def test_the_command_line_starts_without_the_server_side() -> None:
    """Neither the program's entry nor the CLI's imports Flask, SQLAlchemy or gevent at its top."""
    for file in (SOURCE / "__main__.py", SOURCE / "commands.py", SOURCE / "cli" / "main.py"):
        at_top = {
            name
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        assert {name for name in at_top if name.split(".")[0] in {"flask", "sqlalchemy", "gevent", "psycopg"}} == set()
