"""Every program of the test cluster, built once from pinned Go modules into a cache folder.

A folder of the cache is named by a hash of what went into it (go.mod, go.sum, Go files, the Go release, the flags), so
equal sources are never built twice and unequal ones never mixed.

    python -m cluster.harness.programs      builds what is missing and prints the folders
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "programs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overworld" / "cluster"
KUBERNETES = "v1.36.3"
_VERSION = "k8s.io/component-base/version"


class BuildFailed(Exception):
    """A program of the cluster could not be built; the message holds the last lines of the build."""


@dataclass(frozen=True)
class Module:
    """One Go module below ``tests/cluster/programs`` and the programs that are built from it, by name.

    ``texts``: files that are joined from the sources of a module it requires, by name.
    """

    name: str
    packages: Mapping[str, str]
    link_flags: str = ""
    duration: str = "seconds"
    texts: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)


SMALL = Module("small", {"pause": "./pause", "echo": "./echo"})
ETCD = Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, duration="a minute")
KUBE = Module(
    "kubernetes",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kubectl",
            "kube-apiserver",
            "kube-scheduler",
            "kube-proxy",
            "kube-controller-manager",
            "kubelet",
        )
    },
    link_flags=f" -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor={KUBERNETES[1]}"
    f" -X {_VERSION}.gitMinor={KUBERNETES.split('.')[1]}",
    duration="5 to 15 minutes",
)
KWOK_STAGES = "stages.yaml"
KWOK = Module(
    "kwok",
    {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    duration="a minute",
    texts={
        KWOK_STAGES: (
            "sigs.k8s.io/kwok",
            tuple(
                f"kustomize/stage/{name}.yaml"
                for name in ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-delete")
            ),
        )
    },
)
SHARE = Module("share", {"share-driver": "."})
HELM = Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, duration="2 minutes")
POLICIES = Module("policies", {"network-policies": "."}, duration="a minute")
CLUSTER_MODULES = (SMALL, ETCD, SHARE, KUBE)


class Programs:
    """The paths of built programs: ``programs["kubelet"]``. Building happens in :func:`build`, never here."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> str:
        return str(self._paths[name])


def build(*modules: Module) -> Programs:
    """The programs of these modules (none named: all that a cluster needs), built where the cache lacks them.

    Raises BuildFailed. Safe to call twice, also at once: a finished folder appears whole or not at all.
    """
    paths: dict[str, Path] = {}
    for module in modules or CLUSTER_MODULES:
        folder = CACHE / f"{module.name}-{fingerprint(module)}"
        if not folder.is_dir():
            _build_module(module, folder)
        paths |= {name: folder / name for name in (*module.packages, *module.texts)}
    return Programs(paths)


def fingerprint(module: Module) -> str:
    """16 hexadecimal digits that change with anything that changes the programs."""
    digest = hashlib.sha256()
    source = SOURCES / module.name
    for file in sorted(path for path in source.rglob("*") if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(f"{file.relative_to(source)}\n".encode() + file.read_bytes())
    digest.update(
        repr((_go_release(), module.link_flags, sorted(module.packages.items()), sorted(module.texts.items()))).encode()
    )
    return digest.hexdigest()[:16]


def _go_release() -> str:
    try:
        return subprocess.run(["go", "env", "GOVERSION"], check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError as error:
        raise BuildFailed("there is no Go: the test cluster's programs need Go 1.26 or newer on PATH") from error


def _build_module(module: Module, folder: Path) -> None:
    print(f"cluster: building {', '.join(module.packages)} (once; {module.duration})", file=sys.stderr, flush=True)
    began = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=CACHE))
    try:
        for program, package in module.packages.items():
            flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w{module.link_flags}"]
            _go(module, "build", *flags, "-o", str(scratch / program), package)
        for name, (required, files) in module.texts.items():
            source = Path(_go(module, "list", "-m", "-f", "{{.Dir}}", required).strip())
            (scratch / name).write_text("\n---\n".join((source / file).read_text() for file in files))
        scratch.chmod(0o755)
        if not folder.is_dir():
            scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"cluster: built in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _go(module: Module, *arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=SOURCES / module.name,
        env={**os.environ, "CGO_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildFailed(f"go {' '.join(arguments)}\n" + "\n".join(done.stderr.splitlines()[-20:]))
    return done.stdout


if __name__ == "__main__":
    for module in (*CLUSTER_MODULES, KWOK, HELM, POLICIES):
        build(module)
        print(CACHE / f"{module.name}-{fingerprint(module)}")
