"""The cache under its two writers: the list-watch, and the answers to our own writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from overworld.engines.kube.models import Condition, Deployment, DeploymentStatus, Metadata, Object
from overworld.engines.kube.names import SERVER
from overworld.engines.kube.watch import Cache


def thing(name: str, version: int, server: str = "s") -> Object:
    """An object of a server."""
    return Object(Metadata(name=name, resource_version=str(version), labels={SERVER: server}))


def cache() -> tuple[Cache[Object], list[str]]:
    """An empty cache, and whom it woke."""
    woken: list[str] = []
    return Cache(woken.append), woken


def test_what_is_listed_is_found_by_name_and_by_server() -> None:
    """And its owner is woken."""
    objects, woken = cache()
    objects.replace([thing("a", 1), thing("b", 2, "t")], 5)
    assert objects.find("a") is not None
    assert (set(objects.of("s")), set(objects.of("t")), woken) == ({"a"}, {"b"}, ["s", "t"])


def test_a_deletion_missed_while_disconnected_is_found_by_the_next_list() -> None:
    """The owner is woken for it, as for any change."""
    objects, woken = cache()
    objects.replace([thing("a", 1), thing("b", 2)], 5)
    woken.clear()
    objects.replace([thing("b", 2)], 9)
    assert (objects.find("a"), set(objects.of("s")), woken) == (None, {"b"}, ["s"])


def test_nothing_new_wakes_nobody() -> None:
    """A list after an outage of a second must not start a thousand reconciles."""
    objects, woken = cache()
    objects.replace([thing("a", 1)], 5)
    woken.clear()
    objects.replace([thing("a", 1)], 9)
    objects.take("MODIFIED", thing("a", 1))
    assert woken == []


def test_our_own_write_is_seen_at_once() -> None:
    """Before the watch tells of it, and once."""
    objects, woken = cache()
    objects.replace([], 5)
    objects.remember(thing("a", 7))
    objects.take("ADDED", thing("a", 7))
    assert (objects.find("a"), woken) == (thing("a", 7), ["s"])


def test_an_answer_that_comes_after_the_objects_removal_revives_nothing() -> None:
    """1. we write; 2. somebody deletes; 3. the watch tells both; 4. our answer arrives."""
    objects, _ = cache()
    objects.replace([], 5)
    objects.take("ADDED", thing("a", 7))
    objects.take("DELETED", thing("a", 8))
    objects.remember(thing("a", 7))
    assert objects.find("a") is None


def test_a_list_older_than_our_own_write_does_not_undo_it() -> None:
    """1. the list is read; 2. we write; 3. the list arrives."""
    objects, _ = cache()
    objects.replace([], 5)
    objects.remember(thing("a", 9))
    objects.replace([], 8)
    assert objects.find("a") is not None
    objects.replace([], 10)
    assert objects.find("a") is None


def test_an_object_that_changes_hands_wakes_both() -> None:
    """A label edited by somebody."""
    objects, woken = cache()
    objects.replace([thing("a", 1)], 5)
    objects.take("MODIFIED", thing("a", 6, "t"))
    assert (set(objects.of("s")), set(objects.of("t")), woken[-2:]) == (set(), {"a"}, ["s", "t"])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from("st")), max_size=30), st.data())
def test_any_interleaving_of_answers_and_events_ends_with_the_truth(
    changes: list[tuple[str, bool, str]], data: st.DataObject
) -> None:
    """Every change comes as an event, in order; answers to some of them come at any time."""
    objects, _ = cache()
    truth: dict[str, Object] = {}
    history = []
    for number, (name, is_deletion, server) in enumerate(changes, start=1):
        changed = thing(name, number, server)
        if is_deletion and name not in truth:
            continue
        history.append(("DELETED" if is_deletion else "MODIFIED", changed))
        if is_deletion:
            del truth[name]
        else:
            truth[name] = changed
    for kind, changed in history:
        for early in data.draw(
            st.lists(st.sampled_from([one for how, one in history if how != "DELETED"] or [changed]))
        ):
            # An answer is never older than its own write: what the watch has not told yet comes later in history.
            if kind != "DELETED" or early.version >= changed.version:
                objects.remember(early)
        objects.take(kind, changed)
    assert {name: objects.find(name) for name in "abc" if objects.find(name)} == truth
    assert {name for server in "st" for name in objects.of(server)} == set(truth)


def test_a_change_of_nothing_that_is_read_wakes_nobody() -> None:
    """But the newer object is kept, so that an older one does not replace it."""
    objects, woken = cache()
    objects.take("ADDED", thing("a", 1))
    woken.clear()
    objects.take("MODIFIED", thing("a", 3))
    objects.take("MODIFIED", thing("a", 2))
    assert (objects.find("a"), woken) == (thing("a", 3), [])


def test_a_deployments_way_to_a_pod_wakes_nobody() -> None:
    """Its revision and the conditions that say how far it is; but one that says why there is no pod does."""
    woken: list[str] = []
    objects: Cache[Deployment] = Cache(woken.append)

    def deployment(version: int, condition: str, **annotations: str) -> Deployment:
        metadata = thing("a", version).metadata
        status = DeploymentStatus((Condition(condition, "True", message=f"the {version}th"),))
        return Deployment(structs.replace(metadata, annotations=annotations), status=status)

    objects.take("ADDED", deployment(1, "Progressing"))
    objects.take("MODIFIED", deployment(2, "Progressing", **{"deployment.kubernetes.io/revision": "1"}))
    objects.take("MODIFIED", deployment(3, "Available"))
    assert woken == ["s"]
    objects.take("MODIFIED", deployment(4, "ReplicaFailure"))
    assert woken == ["s", "s"]
