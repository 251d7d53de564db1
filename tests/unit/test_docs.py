"""The documents say what is so: settings, links, commands, decisions; and the repository keeps its own rules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from overworld import commands, upkeep
from overworld.cli.main import COMMANDS
from overworld.doctor import CLI_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", ".tools", "node_modules", "__pycache__", "dist"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def our_files() -> Iterator[Path]:
    """Every file of the repository that somebody wrote."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith(("_cache", ".hypothesis"))]
        yield from (Path(folder) / name for name in files if name not in {"uv.lock", ".git"})


def pages() -> list[Path]:
    """Every Markdown page."""
    return sorted(file for file in our_files() if file.suffix == ".md")


def name_of(file: Path) -> str:
    """A file's name inside the repository, for the test's own name."""
    return str(file.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """What can be linked to in a page: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[str, str]]:
    """The links of a page into the repository: path (empty: the page itself) and anchor (empty: none)."""
    found = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return [(path, anchor) for path, _, anchor in (link.partition("#") for link in found) if ":" not in path]


def test_every_setting_is_documented() -> None:
    """docs/configuration.md says what settings.py says (if not: run ``make format``)."""
    script = ROOT / "scripts" / "document_settings.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0


def test_every_variable_of_the_command_line_is_documented() -> None:
    """docs/configuration.md names the variables that only the CLI reads."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert {name for name in CLI_VARIABLES if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link into the repository leads to a file that exists, and to a heading that it has."""
    broken = []
    for path, anchor in links(page):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


def test_every_page_is_reachable() -> None:
    """From README.md, links lead to every page under docs (a link to a folder leads to all of its pages)."""
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        for path, _ in links(page):
            target = (page.parent / path).resolve()
            ahead += sorted(target.glob("*.md")) if target.is_dir() else [target] if target.suffix == ".md" else []
    assert [name_of(page) for page in pages() if page.is_relative_to(ROOT / "docs") and page not in reached] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_in_documents_exist(page: Path) -> None:
    """Each ``make x`` and ``overworld x`` that a page tells to run is there."""
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    programs = {*COMMANDS, *(str(command.name) for command in (*commands.COMMANDS, *upkeep.COMMANDS))}
    assert set(re.findall(r"\bmake ([a-z]+)", code)) - targets == set()
    assert set(re.findall(r"(?:^|[`/]|\$ )overworld ([a-z][a-z0-9-]*)", code, re.MULTILINE)) - programs == set()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")), ids=name_of)
def test_decisions_have_their_four_parts(page: Path) -> None:
    """Each decision says its context, its options, what was decided and what would change it, in this order."""
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["Context", "Options", "Decision", "What would change it"]


def test_decisions_are_numbered_without_gaps() -> None:
    """0001, 0002, ...: a decision is superseded, never removed."""
    numbers = sorted(int(page.name[:4]) for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_no_file_names_a_place_of_one_machine() -> None:
    """No file names a home folder or a folder that only the machine has on which it was written."""
    private = re.compile(rb"(?<![\w.}])/(?:work|root)/")
    assert [name_of(file) for file in our_files() if private.search(file.read_bytes())] == []


def test_python_files_stay_small() -> None:
    """At 400 lines a module is split by noun, but keeper and agent, each one file that images carry (decisions 0002 and
    0021); none is named after nothing."""
    python = [file for file in our_files() if file.suffix == ".py"]
    long = {name_of(file) for file in python if file.read_text(encoding="utf-8").count("\n") > 400}
    assert long - {f"src/overworld/engines/{name}.py" for name in ("keeper", "agent")} == set()
    assert [name_of(file) for file in python if file.stem in {"utils", "util", "helpers", "manager", "common"}] == []


def test_the_licence_is_apache() -> None:
    """The text of the licence is there, and the package says the same."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert re.search(r"Apache License\s+Version 2\.0", text)
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
