"""The real helm, on the project's chart."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.commands import CommandFailed
from cluster.harness.programs import HELM, build

CHART = Path(__file__).resolve().parents[3] / "deploy" / "helm" / "overworld"

Manifest = dict[str, Any]
Values = dict[str, Any]


class Helm:
    """Runs helm; what touches a cluster needs ``kubeconfig``. Every method raises CommandFailed with helm's words."""

    def __init__(self, kubeconfig: Path | None = None, chart: Path = CHART) -> None:
        self._program = build(HELM)["helm"]
        self._kubeconfig = kubeconfig
        self._chart = str(chart)

    def lint(self, values: Values) -> str:
        """What ``helm lint --strict`` says."""
        return self.run("lint", "--strict", self._chart, values=values)

    def template(self, release: str, namespace: str, values: Values, *only: str) -> list[Manifest]:
        """The chart's objects; of these templates only, if any are named."""
        shown = [f"--show-only=templates/{name}.yaml" for name in only]
        text = self.run("template", release, self._chart, f"--namespace={namespace}", *shown, values=values)
        return [one for one in yaml.safe_load_all(text) if one]

    def install(self, release: str, namespace: str, values: Values, *more: str) -> str:
        """Install or upgrade as docs/kubernetes.md says, and wait until everything is ready."""
        arguments = ["--create-namespace", "--take-ownership", "--wait", "--timeout=3m", *more]
        return self.run("upgrade", "--install", release, self._chart, f"--namespace={namespace}", *arguments,
                        values=values)  # fmt: skip

    def uninstall(self, release: str, namespace: str) -> str:
        """Remove the release, wait until it is gone."""
        return self.run("uninstall", release, f"--namespace={namespace}", "--wait", "--timeout=2m")

    def run(self, command: str, *arguments: str, values: Values | None = None) -> str:
        """Run one command. Nothing of the machine's own helm is read."""
        with tempfile.TemporaryDirectory(prefix="ow-helm-") as home:
            line = [self._program, command, *arguments]
            if values is not None:
                file = Path(home) / "values.json"
                file.write_text(json.dumps(values))
                line.append(f"--values={file}")
            environment = {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": str(self._kubeconfig or "/dev/null")}
            done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise CommandFailed(f"helm {command}: {done.stderr.strip()}\n{done.stdout.strip()}".strip())
        return done.stdout
