"""What ``overworld doctor`` is made of: checks that each come to one finding. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from overworld.cli.errors import CliError


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to: one sentence, and (unless all is well) what to do about it."""

    severity: Severity
    says: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. ``run`` changes nothing and ends within seconds; what it raises counts as bad."""

    name: str
    run: Callable[[], Finding]


def run_checks(checks: Iterable[Check]) -> Sequence[tuple[str, Finding]]:
    """Every check's finding, in order; one that breaks hides none of the others."""
    return [(check.name, _run(check)) for check in checks]


def gather_checks(name: str, make: Callable[[], Iterable[Check]]) -> Sequence[Check]:
    """The checks that ``make`` returns; if it breaks, one check that says so under ``name``."""
    try:
        return list(make())
    except Exception as error:
        finding = _told(error) if isinstance(error, CliError) else _broken(error)
        return [Check(name, lambda: finding)]


def _run(check: Check) -> Finding:
    try:
        return check.run()
    except CliError as error:
        return _told(error)
    except Exception as error:  # whatever is wrong with this installation is what the doctor is there to tell
        return _broken(error)


def _told(error: CliError) -> Finding:
    says = [error.detail, *(f"{at}: {what}" for at, what in error.errors)]
    return Finding(Severity.BAD, ": ".join([error.title, *filter(None, says)]), error.mend)


def _broken(error: Exception) -> Finding:
    return Finding(Severity.BAD, f"could not be checked: {type(error).__name__}: {' '.join(str(error).split())}")
