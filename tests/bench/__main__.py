"""``make bench`` and ``make bench-cluster``: run benchmarks one after another, and show what they measured.

A benchmark is a file ``tests/bench/bench_*.py`` with a ``main()`` that calls ``bench.figures.report`` for each figure.
Each runs in a process of its own, so that none inherits another's memory. ``make bench-saves`` runs those of
tests/bench/saves, ``make bench-cluster`` the ``tests/bench/cluster_*.py``, on a test cluster; each kind has a table of
its own. Run all of a kind and the figures go into docs/performance.md; name some, or give them options (``make
bench-cluster ARGS='settled --window=60'``), and they are only printed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, parse_figure

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "performance.md"
KINDS = {"": "bench_*.py", "-saves": "saves/bench_*.py", "-cluster": "cluster_*.py"}
"""Where the benchmarks of each kind are, by what follows ``make bench``."""
BEGIN, END = "<!-- figures: written by make bench{kind} -->", "<!-- end of figures{kind} -->"


def main(words: list[str]) -> int:
    """Run the benchmarks whose name holds one of the words (none: all), with those that begin with ``--`` as their
    options; 1 if one of them failed. The first word can be ``--saves`` or ``--cluster``: those of that kind."""
    kind = words[0].removeprefix("-") if words and words[0].removeprefix("-") in KINDS else ""
    options = [word for word in words[bool(kind) :] if word.startswith("--")]
    words = [word for word in words[bool(kind) :] if not word.startswith("--")]
    files = [
        file
        for file in sorted((ROOT / "tests" / "bench").glob(KINDS[kind]))
        if not words or any(word in file.stem for word in words)
    ]
    figures: list[Figure] = []
    failed: list[str] = []
    for file in files:
        print(f"bench: {file.stem}", flush=True)
        found, status = run(file, options)
        figures += found
        failed += [file.stem] if status != 0 else []
    table = render(figures)
    print(f"\n{table}")
    if failed or not files:
        print(f"bench: failed: {', '.join(failed)}" if failed else f"bench: none matches {words}", file=sys.stderr)
        return 1
    if not words and not options:
        write(table, kind)
    return 0


def run(file: Path, options: list[str]) -> tuple[list[Figure], int]:
    """The figures of one benchmark and its exit status; whatever else it prints is passed on as it comes."""
    module = ".".join(file.relative_to(ROOT / "tests").with_suffix("").parts)
    code = f"from {module} import main; main()"
    figures: list[Figure] = []
    with subprocess.Popen([sys.executable, "-c", code, *options], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            figure = parse_figure(line)
            if figure is None:
                print(line, end="", flush=True)
            else:
                figures.append(figure)
    return figures, process.returncode


def render(figures: list[Figure]) -> str:
    """The figures as a Markdown table that is readable on a terminal too."""
    head = ("what", "measured", "aim")
    rows = [head, *((f.what, f"{readable(f.value)} {f.unit}".strip(), f.aim or "-") for f in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def readable(value: float) -> str:
    """Three significant digits, and never an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(table: str, kind: str) -> None:
    """Put the table and what it was measured on between the kind's marks of docs/performance.md."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = BEGIN.format(kind=kind), END.format(kind=kind)
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    where = f"{os.cpu_count()} cores ({platform.machine()}), Linux {platform.release().split('-')[0]}"
    measured = f"Measured {datetime.now(UTC):%Y-%m-%d} on {where}, Python {platform.python_version()}."
    PAGE.write_text(f"{before}{begin}\n{measured}\n\n{table}\n{end}{after}", encoding="utf-8")
    print(f"bench: written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
