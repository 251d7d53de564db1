"""What becomes of a drill's pod, in words and in whether anybody still wants it. The messages are those of Kubernetes
1.36."""

from __future__ import annotations

import pytest
from msgspec import structs

from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.engines.kube.models import ContainerState, ContainerStatus, Pod, Terminated
from overworld.engines.kube.names import STEWARD
from overworld.engines.kube.scratch import _explain_end, _read_end
from unit.engines.kube.cluster_objects import pod, running, terminated, told


def over(reason: str, message: str) -> Pod:
    """A pod that was ended."""
    found = pod(phase="Failed")
    return structs.replace(found, status=structs.replace(found.status, reason=reason, message=message))


@pytest.mark.parametrize(
    "message",
    [
        'Usage of EmptyDir volume "world" exceeds the limit "300Mi". ',
        "Pod ephemeral local storage usage exceeds the total limit of containers 1836Mi. ",
    ],
)
def test_who_takes_more_than_asked_for_is_not_tried_again(message: str) -> None:
    """It would take as much the next time."""
    assert isinstance(_explain_end(over("Evicted", message)), EngineRefused)


@pytest.mark.parametrize(
    "gone",
    [
        None,
        over("Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 9Mi. "),
        over("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        pod(phase="Failed"),
    ],
)
def test_any_other_end_by_others_may_not_be_met_again(gone: Pod | None) -> None:
    """A full node, a drained one, one that died."""
    assert isinstance(_explain_end(gone), EngineUnavailable)


def test_the_games_own_end_is_told_with_its_words() -> None:
    """What says something of the save."""
    assert _read_end(pod(state=running())) is None
    end = _read_end(pod(state=terminated(told())))
    assert end is not None
    assert end.lines == ("cannot open the map",)


def test_an_end_that_others_asked_for_says_nothing_of_the_save() -> None:
    """Nor does a container that could not be begun."""
    with pytest.raises(EngineUnavailable):
        _read_end(pod(state=terminated(told(exit={"asked": True}))))
    with pytest.raises(EngineRefused, match="no such file"):
        _read_end(pod(state=terminated("exec: no such file", code=128, reason="StartError")))


def test_a_pod_is_left_once_its_steward_has_ended() -> None:
    """Whatever else runs in it; a game's own pod has its steward elsewhere, and is never taken for one."""
    found = pod(state=running())
    ended = ContainerStatus(STEWARD, state=ContainerState(terminated=Terminated(0)))
    left = structs.replace(found, status=structs.replace(found.status, container_statuses=(ended,)))
    beside = structs.replace(found, status=structs.replace(found.status, init_container_statuses=(ended,)))
    assert (found.was_left, left.was_left, beside.was_left) == (False, True, False)
