"""Where the address and the token come from, and where the token may go."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from overworld.cli.config import Target, check_token, check_url, config_path, find_target, read_config, write_config
from overworld.cli.errors import BadUsage, Refused

LOCAL = Target("http://127.0.0.1:8470", "the installation on this machine", "ow_local_1", "/data/admin-token")


def local() -> Target:
    """This machine's installation."""
    return LOCAL


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a configuration folder of its own."""
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_environment_goes_first(home: dict[str, str]) -> None:
    """With both variables set nothing else is looked at."""
    write_config(config_path(home), "https://kept.example", "ow_kept_1")
    found = find_target({**home, "OVERWORLD_URL": "https://env.example/", "OVERWORLD_TOKEN": " ow_env_1\n"})
    assert (found.url, found.token, found.token_from) == ("https://env.example", "ow_env_1", "OVERWORLD_TOKEN")


def test_the_file_goes_before_this_machine(home: dict[str, str]) -> None:
    """What login kept is used where the environment says nothing."""
    write_config(config_path(home), "https://kept.example", "ow_kept_1")
    found = find_target(home, local)
    assert (found.url, found.token) == ("https://kept.example", "ow_kept_1")


def test_this_machine_comes_last(home: dict[str, str]) -> None:
    """Without environment and file the installation on this machine is meant, with its own token."""
    assert find_target(home, local) == LOCAL


def test_a_kept_token_goes_nowhere_else(home: dict[str, str]) -> None:
    """Neither the file's token nor this machine's is sent to another address than its own."""
    write_config(config_path(home), "https://kept.example", "ow_kept_1")
    assert find_target({**home, "OVERWORLD_URL": "https://other.example"}, local).token is None


def test_this_machines_token_serves_its_own_address_by_name(home: dict[str, str]) -> None:
    """An address in the environment that is this machine's own finds this machine's token."""
    assert find_target({**home, "OVERWORLD_URL": "http://127.0.0.1:8470/"}, local).token == "ow_local_1"


def test_the_local_installation_is_found_by_its_settings(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listening on every address is reached by the loopback one; the token is read from the data folder."""
    monkeypatch.setenv("OVERWORLD_DATA_FOLDER", str(tmp_path))
    monkeypatch.setenv("OVERWORLD_LISTEN_HOST", "0.0.0.0")
    monkeypatch.setenv("OVERWORLD_LISTEN_PORT", "9999")
    (tmp_path / "admin-token").write_text("ow_local_2\n")
    found = find_target(home)
    assert (found.url, found.token, found.token_from) == (
        "http://127.0.0.1:9999",
        "ow_local_2",
        str(tmp_path / "admin-token"),
    )


def test_a_wrong_setting_is_named(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be is reported as the variable that holds it."""
    monkeypatch.setenv("OVERWORLD_LISTEN_PORT", "many")
    with pytest.raises(BadUsage) as caught:
        find_target(home)
    assert caught.value.errors[0][0] == "OVERWORLD_LISTEN_PORT"


def test_the_file_is_private_from_the_first_moment(home: dict[str, str]) -> None:
    """The file is 0600, its folder 0700, and a second login replaces it."""
    path = config_path(home)
    write_config(path, "https://a.example", "ow_a_1")
    write_config(path, "https://b.example", 'ow_"b"_1')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert dict(read_config(path)) == {"url": "https://b.example", "token": 'ow_"b"_1'}
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"]


def test_a_broken_file_is_named(home: dict[str, str]) -> None:
    """A file that is not TOML is reported with its place and the mend."""
    path = config_path(home)
    path.parent.mkdir()
    path.write_text("url = ")
    with pytest.raises(Refused) as caught:
        find_target(home, local)
    assert str(path) in caught.value.detail
    assert "overworld login" in caught.value.mend


@pytest.mark.parametrize(
    "url", ["", "games.example", "ftp://a", "http://", "https://user:pw@a", "http://a?b", "http://a:x", "http://a:0x1"]
)
def test_addresses_that_are_none(url: str) -> None:
    """Only http(s)://host[:port][/path] is an address; a password in it is refused, not used."""
    with pytest.raises(BadUsage):
        check_url(url, "OVERWORLD_URL")


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "ow_é"])
def test_tokens_that_are_none_are_not_shown(token: str) -> None:
    """What cannot be a token is refused before it gets into a header, without being repeated."""
    with pytest.raises(BadUsage) as caught:
        check_token(token, "OVERWORLD_TOKEN")
    assert not token.strip() or token.strip() not in caught.value.render()


def test_a_target_never_shows_its_token() -> None:
    """The representation is safe to log."""
    assert "ow_local_1" not in repr(LOCAL)
