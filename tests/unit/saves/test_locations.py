"""Where saves are kept, as an operator writes it."""

from __future__ import annotations

import pytest

from overworld.domain.errors import BadInput
from overworld.saves.locations import parse_location


def test_a_local_folder() -> None:
    """Each server's repository is a folder in it."""
    assert parse_location("local:/var/saves").repository("abc", "pw").url == "/var/saves/abc"


def test_a_bucket_of_b2() -> None:
    """The host alone means https; its region is in its name, which saves a request each time."""
    location = parse_location("s3:s3.eu-central-003.backblazeb2.com/bucket/a/b/", key_id="id", secret="hunter2")
    repository = location.repository("abc", "password")
    assert repository.url == "s3:https://s3.eu-central-003.backblazeb2.com/bucket/a/b/abc"
    assert repository.environment == {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "eu-central-003",
    }
    assert "hunter2" not in repr((location, repository))
    assert "password" not in repr(repository)


def test_plain_http_only_to_this_machine() -> None:
    """Keys and worlds do not travel in the clear."""
    assert parse_location("s3:http://127.0.0.1:9000/b", key_id="i", secret="s").endpoint == "http://127.0.0.1:9000"
    assert parse_location("s3:http://[::1]:9000/b", key_id="i", secret="s").endpoint == "http://[::1]:9000"
    for host in ("example.org", "127.0.0.1.example.org", "localhost.example.org:80"):
        with pytest.raises(BadInput, match="https"):
            parse_location(f"s3:http://{host}/b", key_id="i", secret="s")


@pytest.mark.parametrize(
    "text", ["", "local:", "local:saves", "b2:bucket", "s3:", "s3:host", "s3:https:///bucket", "s3:user:pw@host/bucket"]
)
def test_what_is_no_location_is_explained(text: str) -> None:
    """The sentence gives the form."""
    with pytest.raises(BadInput, match="local:/folder or s3:endpoint"):
        parse_location(text, key_id="i", secret="s")


def test_a_bucket_needs_a_key() -> None:
    """Without one nothing is begun."""
    with pytest.raises(BadInput, match="needs a key"):
        parse_location("s3:host/bucket")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
def test_a_repository_has_a_plain_name(name: str) -> None:
    """No server's id leads out of the store."""
    with pytest.raises(BadInput):
        parse_location("local:/saves").repository(name, "pw")
