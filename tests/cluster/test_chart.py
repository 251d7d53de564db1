"""The chart: what it refuses, what the API server says to it, and what it makes of a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import echoes
from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed
from cluster.harness.helm import Helm, Manifest, Values
from cluster.harness.images import PAUSE
from cluster.harness.provisioner import DISK
from overworld.engines.kube.launches import READY_PORT, STARTED_PORT
from overworld.games.catalogue import Catalogue
from overworld.settings import Settings
from waiting import wait_until

NONE: Values = {"cloud": "none", "storage": {"disk": {"provisioner": DISK}}}
AZURE: Values = {
    "cloud": "azure",
    "azure": {
        "tenantId": "11111111-1111-1111-1111-111111111111",
        "subscriptionId": "22222222-2222-2222-2222-222222222222",
        "clientId": "33333333-3333-3333-3333-333333333333",
        "resourceGroup": "overworld-addresses",
    },
}
EVERYTHING: Values = {
    **AZURE,
    "network": {"direct": {"enabled": True}},
    "metrics": {"enabled": True},
    "ingress": {"enabled": True, "host": "games.example.com", "tlsSecretName": "games-tls"},
    "image": {"pullSecrets": ["registry"]},
    "placeholders": {"replicas": 2},
    "web": {"nodeSelector": {"kubernetes.azure.com/mode": "system"}, "tolerations": [{"operator": "Exists"}]},
    "settings": {"retention": "P14D", "quota_servers": 3000000},
    "saves": {"store": "s3:s3.example.com/saves", "authority": "a certificate"},
    "networkPolicies": {"saveStore": {"ranges": ["203.0.113.0/24"], "port": 443}},
}
IDLE: Values = {**NONE, **{role: {"replicas": 0} for role in ("web", "controller", "monitor", "worker")}}
"""Nothing runs: for tests of what is around the pods."""


@pytest.fixture(scope="module")
def helm() -> Helm:
    """helm without a cluster."""
    return Helm()


def find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of that kind and name."""
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))


@pytest.mark.parametrize("values", [NONE, AZURE, EVERYTHING], ids=["none", "azure", "everything"])
def test_helm_finds_nothing_to_complain_of(helm: Helm, values: Values) -> None:
    """``helm lint --strict``."""
    assert "0 chart(s) failed" in helm.lint(values)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"webs": {}}, "additional properties 'webs' not allowed"),
        ({"web": {"replica": 1}}, "additional properties 'replica' not allowed"),
        ({"web": {"replicas": "two"}}, "got string, want integer"),
        ({"cloud": "aws"}, "value must be one of 'none', 'azure'"),
        ({"storage": {"disk": {"provisioner": ""}}}, "/storage/disk/provisioner"),
        ({"cloud": "azure"}, "/azure/subscriptionId"),
        ({"ingress": {"enabled": True}}, "/ingress/host"),
        ({"settings": {"retentoin": "P1D"}}, "retentoin"),
        ({"settings": {"database_url": "postgresql://"}}, "database_url"),
        ({"saves": {"store": "local:/saves"}}, "/saves/store"),
        ({"settings": {"save_store_key": "secret"}}, "save_store_key"),
        ({"games": {"ports": [{"protocol": "SCTP", "port": 1}]}}, "value must be one of 'UDP', 'TCP'"),
        ({"networkPolicies": {"forbiddenToGames": ["10.0.0.0"]}}, "/networkPolicies/forbiddenToGames/0"),
        ({"network": {"direct": {"enabled": True, "firstPort": 50000, "lastPort": 40000}}}, "must not be above"),
    ],
    ids=str,
)
def test_wrong_values_are_refused(helm: Helm, wrong: Values, says: str) -> None:
    """Each with a message that names it; nothing is rendered."""
    with pytest.raises(CommandFailed) as refused:
        helm.template("overworld", "overworld", {**NONE, **wrong})
    assert says in str(refused.value)


def test_what_the_chart_sets_are_settings(helm: Helm) -> None:
    """Each OVERWORLD_ variable that it passes on is one that Overworld reads, and can be read by it."""
    settings = find(helm.template("o", "system", EVERYTHING), "ConfigMap", "o-settings")["data"]
    known = {f"OVERWORLD_{name.upper()}" for name in Settings.model_fields}
    assert settings.keys() <= known
    assert settings["OVERWORLD_QUOTA_SERVERS"] == "3000000"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        assert Settings().kube_namespace == "o-games"


def test_players_may_reach_each_game_and_not_its_keeper(helm: Helm) -> None:
    """The ports that everybody is let in at are those of the catalogue; the keeper's is for the monitor."""
    objects = helm.template("o", "system", NONE)

    def ports(name: str) -> set[tuple[str, int]]:
        (rule,) = find(objects, "NetworkPolicy", name)["spec"]["ingress"]
        return {(one["protocol"].lower(), one["port"]) for one in rule["ports"]}

    let_in = ports("o-players")
    catalogue = Catalogue.load()
    assert let_in == {(port.protocol.value, port.default) for game in catalogue.games() for port in game.ports}
    assert not {STARTED_PORT, READY_PORT} & {port for _, port in let_in}
    assert ports("o-keepers") == {("tcp", READY_PORT)}


def test_two_releases_share_no_name(helm: Helm) -> None:
    """What is not in a namespace of the release is named after it."""

    def names(release: str) -> set[tuple[str, str, str]]:
        objects = helm.template(release, f"{release}-system", EVERYTHING)
        return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in objects}

    assert not names("red") & names("blue")


def test_only_the_controller_has_an_identity_at_azure(helm: Helm) -> None:
    """Its service account is federated and its pods get the token; nobody else's."""
    objects = helm.template("o", "system", AZURE)
    accounts = {one["metadata"]["name"]: one for one in objects if one["kind"] == "ServiceAccount"}
    annotations = {name: one["metadata"].get("annotations", {}) for name, one in accounts.items()}
    client_id = annotations["o-controller"]["azure.workload.identity/client-id"]
    assert client_id == "33333333-3333-3333-3333-333333333333"
    assert annotations["o-web"] == annotations["o-monitor"] == {}
    pods = [one for one in objects if one["kind"] == "Deployment"]
    label = "azure.workload.identity/use"
    with_token = [pod["metadata"]["name"] for pod in pods if label in pod["spec"]["template"]["metadata"]["labels"]]
    assert with_token == ["o-controller"]


def test_the_database_url_is_in_no_manifest(helm: Helm) -> None:
    """Every pod that needs it reads it from the Secret."""
    objects = helm.template("o", "system", NONE)
    assert not [one for one in objects if one["kind"] == "Secret"]
    for name in ("web", "controller", "monitor", "worker"):
        container = find(objects, "Deployment", f"o-{name}")["spec"]["template"]["spec"]["containers"][0]
        source = next(one for one in container["env"] if one["name"] == "OVERWORLD_DATABASE_URL")["valueFrom"]
        assert source == {"secretKeyRef": {"name": "overworld-database", "key": "url"}}


def test_the_keys_of_saves_are_the_workers_alone(helm: Helm) -> None:
    """In no manifest, and no other role is handed any of them; without a store it needs none. Web knows the word by
    which the worker knows it."""
    handed = {}
    for values in (EVERYTHING, NONE):
        for one in helm.template("o", "system", values):
            if one["kind"] == "Deployment" and one["metadata"]["name"] != "o-placeholder":
                (container,) = one["spec"]["template"]["spec"]["containers"]
                sources = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each]
                keys = {each["key"] for each in sources if each["name"] == "overworld-worker"}
                handed[container["name"], values is EVERYTHING] = keys
    assert handed.pop(("worker", True)) == {"link", "save-keys", "store-key-id", "store-key"}
    assert handed.pop(("worker", False)) == handed.pop(("web", True)) == handed.pop(("web", False)) == {"link"}
    assert set().union(*handed.values()) == set()


def test_while_recovering_only_the_workers_pod_is_there_and_waits(helm: Helm) -> None:
    """It has what the worker has, but needs no save keys yet; the database is left empty, and no right is added."""
    usual = helm.template("o", "system", EVERYTHING)
    objects = helm.template("o", "system", {**EVERYTHING, "recovering": True})
    roles = {
        name: find(objects, "Deployment", f"o-{name}")["spec"] for name in ("web", "controller", "monitor", "worker")
    }
    assert {name: role["replicas"] for name, role in roles.items()} == {**dict.fromkeys(roles, 0), "worker": 1}
    (waits,) = roles["worker"]["template"]["spec"]["containers"]
    (works,) = find(usual, "Deployment", "o-worker")["spec"]["template"]["spec"]["containers"]
    assert waits.pop("command") == ["sleep", "infinity"]
    del works["args"], works["readinessProbe"]
    keys = next(one["valueFrom"]["secretKeyRef"] for one in waits["env"] if one["name"] == "OVERWORLD_SAVE_KEYS")
    assert keys.pop("optional") is True
    assert waits == works
    assert not [one for one in objects if one["kind"] == "Job"]
    rights = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "NetworkPolicy")
    assert [one for one in objects if one["kind"] in rights] == [one for one in usual if one["kind"] in rights]


@pytest.mark.parametrize(("release", "values"), [("plain", NONE), ("rich", EVERYTHING)])
def test_the_api_server_takes_every_object(cluster: Cluster, helm: Helm, release: str, values: Values) -> None:
    """Server-side dry run, which validates each field; with strict checking, none is unknown, and none warned of."""
    objects = helm.template(release, f"{release}-system", values)
    spaces = [one for one in objects if one["kind"] == "Namespace"]
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=as_list(spaces))
    try:
        arguments = ["--server-side", "--dry-run=server", "--validate=strict", "--filename=-"]
        said = cluster.kubectl("apply", *arguments, stdin=as_list(objects))
        assert len(said.splitlines()) == len(objects)
        for policy in (one for one in objects if one["kind"] == "ValidatingAdmissionPolicy"):
            cluster.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(policy))
            name = policy["metadata"]["name"]
            get = ("get", "validatingadmissionpolicy", name, "--output=jsonpath={.status}")
            checked = wait_until(lambda get=get: cluster.kubectl(*get), 30, "its types were checked")  # type: ignore[misc]
            assert json.loads(checked).get("typeChecking", {}) == {}
            cluster.kubectl("delete", "validatingadmissionpolicy", name)
    finally:
        for space in spaces:
            cluster.kubectl("delete", "namespace", space["metadata"]["name"], "--wait=false")


def as_list(objects: list[Manifest]) -> str:
    """For kubectl."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


class Installed:
    """A release of the chart whose own pods are not there."""

    def __init__(self, cluster: Cluster, release: str, values: Values) -> None:
        self.cluster = cluster
        self.release = release
        self.system, self.games = f"{release}-system", f"{release}-games"
        self.helm = Helm(cluster.kubeconfig)
        self.apply(values)

    def apply(self, values: Values) -> None:
        """Install or upgrade."""
        self.helm.install(self.release, self.system, values, "--no-hooks")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """kubectl in the games' namespace."""
        return self.cluster.kubectl("--namespace", self.games, *arguments, stdin=stdin)

    def create_game(self, name: str, *, stdin: Any = None, **labels: str) -> None:
        """A pod that passes Pod Security, as a game's."""
        self.kubectl("create", "--filename=-", stdin=json.dumps(stdin or game_pod(name, **labels)))

    def is_ready(self, name: str) -> bool:
        """Whether that pod runs."""
        path = "jsonpath={.status.containerStatuses[0].ready}"
        return self.kubectl("get", "pod", name, "--output", path) == "true"

    def remove(self) -> None:
        """Uninstall, and remove what is kept too."""
        if self.release in self.helm.run("list", f"--namespace={self.system}"):
            self.helm.uninstall(self.release, self.system)
        kept = "storageclass,priorityclass,validatingadmissionpolicy,validatingadmissionpolicybinding"
        self.cluster.kubectl("delete", kept, "--selector", f"app.kubernetes.io/instance={self.release}")
        self.cluster.kubectl("delete", "namespace", self.system, self.games, "--timeout=60s")


def game_pod(name: str, **labels: str) -> Manifest:
    """An echo server as the engine would render it, in short."""
    template = echoes.deployment(name)["spec"]["template"]
    metadata = {"name": name, "labels": {**template["metadata"]["labels"], **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.fixture
def installed(cluster: Cluster) -> Iterator[Installed]:
    """The chart, without pods of its own, and nothing of it afterwards."""
    release = Installed(cluster, "guards", IDLE)
    yield release
    release.remove()


def test_the_namespaces_let_only_restricted_pods_in(installed: Installed) -> None:
    """Also the release's own, which was there before the chart."""
    privileged = game_pod("thief")
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    for namespace in (installed.system, installed.games):
        with pytest.raises(CommandFailed, match="violates PodSecurity"):
            installed.cluster.kubectl("--namespace", namespace, "create", "--filename=-", stdin=json.dumps(privileged))


def test_the_games_namespace_has_bounds(installed: Installed) -> None:
    """No container above the most memory, no node port, no claim above the most disk; each refusal says which."""
    pod = game_pod("giant")
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Gi"}}
    with pytest.raises(CommandFailed, match="maximum memory usage per Container is 32Gi"):
        installed.create_game("giant", stdin=pod)
    service = {**echoes.service("open"), "spec": {"type": "NodePort", "ports": [{"port": 1}], "selector": {"a": "b"}}}
    with pytest.raises(CommandFailed, match=r"exceeded quota: guards, requested: services.nodeports=1"):
        installed.create_game("open", stdin=service)
    with pytest.raises(CommandFailed, match="maximum storage usage per PersistentVolumeClaim is 1Ti"):
        installed.create_game("hoard", stdin=echoes.claim("hoard", "2Ti"))
    service = echoes.service("address")
    service["metadata"].pop("annotations")
    installed.create_game("address", stdin=service)
    installed.kubectl("delete", "service", "address", "--timeout=20s")


def test_a_game_with_players_is_not_evicted(installed: Installed) -> None:
    """The one disruption budget: occupied pods stay, empty ones may go."""
    for name, labels in (("full", {"occupied": "true"}), ("empty", {})):
        installed.create_game(name, **labels)
        wait_until(lambda name=name: installed.is_ready(name), 30, f"{name} runs")  # type: ignore[misc]

    def evict(name: str) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": installed.games}}
        path = f"/api/v1/namespaces/{installed.games}/pods/{name}/eviction"
        installed.cluster.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(body))

    evict("empty")
    with pytest.raises(CommandFailed, match="disruption budget"):
        evict("full")


def test_worlds_are_kept_and_can_grow(installed: Installed) -> None:
    """The class of the chart."""
    found = json.loads(installed.cluster.kubectl("get", "storageclass", "guards-world", "--output=json"))
    assert (found["reclaimPolicy"], found["volumeBindingMode"]) == ("Retain", "WaitForFirstConsumer")
    assert found["allowVolumeExpansion"] is True


def test_a_placeholder_gives_its_room_to_a_game(installed: Installed) -> None:
    """Both nodes are full of placeholders; a game that starts takes the place of one at once."""
    path = "jsonpath={range .items[*]}{.status.allocatable.cpu} {end}"
    cores = int(installed.cluster.kubectl("get", "nodes", "--output", path).split()[0])
    room = {"replicas": 2, "cpu": f"{cores * 1000 - 600}m", "memory": "32Mi", "image": PAUSE}
    installed.apply({**IDLE, "placeholders": room})
    pod = game_pod("player")
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}, "limits": {"memory": "32Mi"}}
    pod["spec"]["priorityClassName"] = "guards-game"
    installed.create_game("player", stdin=pod)
    wait_until(lambda: installed.is_ready("player"), 30, "the game runs")
    selector = "app.kubernetes.io/component=placeholder"
    arguments = ("--namespace", installed.system, "get", "pods", "--selector", selector)
    phases = ("--output", "jsonpath={range .items[*]}{.status.phase} {end}")
    wait_until(
        lambda: sorted(installed.cluster.kubectl(*arguments, *phases).split()) == ["Pending", "Running"],
        20,
        "one placeholder waits for a node",
    )


def test_uninstalling_keeps_games_and_worlds(installed: Installed) -> None:
    """A running game and its claim outlive the release, under the same policies; installing again finds them."""
    installed.create_game("stays", stdin={**echoes.claim("stays"), "spec": {
        **echoes.claim("stays")["spec"], "storageClassName": "guards-world"}})  # fmt: skip
    pod = game_pod("stays")
    pod["spec"]["volumes"] = [{"name": "world", "persistentVolumeClaim": {"claimName": "stays"}}]
    installed.create_game("stays", stdin=pod)
    wait_until(lambda: installed.is_ready("stays"), 30, "the game runs")
    before = installed.kubectl("get", "pod", "stays", "--output=jsonpath={.metadata.uid}")
    policies = installed.kubectl("get", "networkpolicy", "--output=name")
    installed.helm.uninstall("guards", installed.system)
    assert installed.kubectl("get", "pod", "stays", "--output=jsonpath={.metadata.uid}") == before
    assert installed.kubectl("get", "networkpolicy", "--output=name") == policies
    assert installed.kubectl("get", "role,rolebinding,poddisruptionbudget", "--output=name") == ""
    installed.apply(IDLE)
    assert installed.kubectl("get", "pod", "stays", "--output=jsonpath={.metadata.uid}") == before
