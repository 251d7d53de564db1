"""What is wrong with settings, for people."""

from __future__ import annotations

from pydantic import ValidationError


def mistakes(error: ValidationError) -> list[tuple[str, str]]:
    """For people, what is wrong: each variable's name with a sentence that ends with its value."""
    return [
        (f"OVERWORLD_{str(item['loc'][0]).upper()}", f"{_plain(item['msg'])} (it is {item['input']!r})")
        if item["loc"]
        else ("OVERWORLD_CLOUD", _plain(item["msg"]))
        for item in error.errors()
    ]


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")
