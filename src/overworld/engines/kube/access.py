"""Which cluster, and as whom."""

from __future__ import annotations

from pathlib import Path

import yaml
from lightkube import KubeConfig
from lightkube.core.exceptions import ConfigError

from overworld.domain.errors import BadInput


def read_kubeconfig(path: Path | None) -> KubeConfig:
    """The cluster of that kubeconfig; None: the one that this pod is in, as its service account, whose token is read
    again when Kubernetes replaces it. Raises BadInput with what would be right."""
    try:
        if path is None:
            return KubeConfig.from_service_account()
        return KubeConfig.from_file(path)
    except (ConfigError, KeyError) as error:
        if path is None:
            raise BadInput(
                "engine=kube found no service account: this is no pod of a cluster. Set OVERWORLD_KUBECONFIG to a "
                "kubeconfig file."
            ) from error
        raise BadInput(f"The kubeconfig {path} cannot be used: {error}") from error
    except (OSError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise BadInput(f"The kubeconfig {path} cannot be read: {error}") from error
