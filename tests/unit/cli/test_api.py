"""What is retried, what is not, and what is never said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from httpx_retries import Retry

from overworld.cli.api import RETRY, Api, api_path
from overworld.cli.config import Target
from overworld.cli.errors import CliError, NotFound, Refused, Unreachable
from unit.cli.stage import TOKEN, Reply, Stage, page, problem, server

QUICK = Retry(total=3, allowed_methods=tuple(RETRY.allowed_methods), status_forcelist=tuple(RETRY.status_forcelist))


@pytest.fixture
def api(stage: Stage) -> Iterator[Api]:
    """The API of the stage, which does not wait between tries."""
    with Api(Target(stage.url, "a test", TOKEN, "a test"), retry=QUICK) as opened:
        yield opened


def test_a_lost_answer_is_asked_for_again(stage: Stage, api: Api) -> None:
    """A GET whose connection breaks is sent again."""
    stage.lay("GET", "/servers/x", Reply(lose=True), Reply(lose=True), Reply(server()))
    assert api.get(api_path("servers", "x"))["name"] == "meadow"
    assert len(stage.seen("GET", "/servers/x")) == 3


def test_every_try_of_a_post_has_one_key(stage: Stage, api: Api) -> None:
    """A POST is retried under the same Idempotency-Key, another POST has another one."""
    stage.lay("POST", "/servers", Reply(lose=True), problem(503, "unavailable", "Wait"), Reply(server(), 201))
    api.post(api_path("servers"), {"name": "meadow"})
    api.post(api_path("servers"), {"name": "meadow"})
    keys = [request.headers["idempotency-key"] for request in stage.seen("POST", "/servers")]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_a_running_twin_is_waited_for(stage: Stage, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first try is still worked on, its answer is asked for until it is there; another conflict is final."""
    monkeypatch.setattr("overworld.cli.api.TWIN_PAUSE_SECONDS", 0.001)
    stage.lay("POST", "/a", problem(409, "still-running", "Running"), Reply(server(), 201))
    assert api.post(api_path("a")).document["name"] == "meadow"
    stage.lay("POST", "/b", problem(409, "conflict", "Not now", "It is deleted."))
    with pytest.raises(Refused, match="Not now"):
        api.post(api_path("b"))
    assert len(stage.seen("POST", "/b")) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_cannot_be_repeated_is_sent_once(stage: Stage, api: Api, method: str) -> None:
    """A console command and an edit are never sent twice, even if their answer was lost."""
    stage.lay(method, "/x", Reply(lose=True))
    with pytest.raises(Unreachable):
        api.post(api_path("x"), {}, retry=False) if method == "POST" else api.patch(api_path("x"), {})
    assert len(stage.seen(method, "/x")) == 1


def test_pages_are_taken_as_they_are_needed(stage: Stage, api: Api) -> None:
    """A list goes on with the token of the page before, and stops where the limit is reached."""
    stage.lay("GET", "/servers", page({"n": 1}, {"n": 2}, token="t2"), page({"n": 3}, {"n": 4}, token="t3"))
    items = list(api.pages(api_path("servers"), {"game": "luanti", "owner": None}, limit=3))
    assert [item["n"] for item in items] == [1, 2, 3]
    first, second = stage.seen("GET", "/servers")
    assert (first.query, second.query) == (
        {"game": ["luanti"], "page_size": ["3"]},
        {"game": ["luanti"], "page_size": ["1"], "page_token": ["t2"]},
    )


def test_a_redirect_is_not_followed(stage: Stage, api: Api) -> None:
    """The token goes to no other address, whatever the answer says."""
    stage.lay("GET", "/me", Reply(raw=b"", status=302, headers={"Location": stage.url + "/elsewhere"}))
    with pytest.raises(Unreachable, match="not an Overworld"):
        api.get(api_path("me"))
    assert [request.path for request in stage.requests] == ["/api/v1/me"]


@pytest.mark.parametrize("reply", [Reply(raw=b"<html>hello</html>"), Reply([1, 2]), Reply(raw=b"<html>", status=502)])
def test_something_else_that_answers_is_named(stage: Stage, api: Api, reply: Reply) -> None:
    """An answer that is no document of the API says that this is not an Overworld."""
    stage.lay("GET", "/me", reply)
    with pytest.raises(Unreachable, match="not an Overworld"):
        api.get(api_path("me"))


@pytest.mark.parametrize(
    ("part", "path"),
    [("../accounts", "..%2Faccounts"), ("..", "%2E%2E"), (".", "%2E"), ("a b?c#d", "a%20b%3Fc%23d"), ("é", "%C3%A9")],
)
def test_a_part_of_a_path_stays_one_part(part: str, path: str) -> None:
    """A name with slashes, dots or marks cannot reach another route."""
    assert api_path("servers", part, "start") == f"/api/v1/servers/{path}/start"


def test_no_failure_shows_the_token(stage: Stage, api: Api) -> None:
    """Neither a lost connection nor a refusal that repeats the request's headers brings the token to the screen."""
    stage.lay("GET", "/lost", Reply(lose=True))
    stage.lay("GET", "/x", problem(404, "not-found", "Not found"))
    for path, kind in (("lost", Unreachable), ("x", NotFound)):
        with pytest.raises(CliError) as caught:
            api.get(api_path(path))
        assert isinstance(caught.value, kind)
        assert TOKEN not in caught.value.render() + caught.value.render_json() + repr(caught.value)
    assert TOKEN not in repr(api.target)


def test_no_proxy_stands_before_the_loopback_interface(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is for addresses elsewhere only."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    stage.lay("GET", "/me", Reply({"account": {}}))
    with Api(Target(stage.url, "a test", TOKEN, "a test"), retry=QUICK) as direct:
        assert direct.get(api_path("me")) == {"account": {}}
    with Api(Target("http://games.invalid", "a test", TOKEN, "a test"), retry=Retry(total=0)) as proxied:
        with pytest.raises(Unreachable, match=r"games\.invalid") as caught:
            proxied.get(api_path("me"))
        assert "refused" in caught.value.detail  # by the proxy's port, not by the name server
