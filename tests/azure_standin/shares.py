"""Azure Files as far as folders go: shares, folders and files by name. The rules, without HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from azure_standin.operations import Refusal


@dataclass
class Shares:
    """The shares of one storage account: per share its size in GiB and every path in it (folders end with /)."""

    quotas: dict[str, int] = field(default_factory=dict)
    paths: dict[str, set[str]] = field(default_factory=dict)

    def make(self, share: str, quota_gib: int) -> bool:
        """The share exists with that size; True if it is new."""
        new = share not in self.quotas
        self.quotas[share] = quota_gib
        self.paths.setdefault(share, set())
        return new

    def make_folder(self, share: str, folder: str) -> None:
        """A new folder."""
        paths = self._paths(share)
        if f"{folder}/" in paths:
            raise Refusal(409, "ResourceAlreadyExists")
        paths.add(f"{folder}/")

    def entries(self, share: str, folder: str) -> str:
        """What is in a folder, as the XML that Azure Files answers."""
        paths = self._paths(share)
        if f"{folder}/" not in paths:
            raise Refusal(404, "ResourceNotFound")
        inside = sorted(path[len(folder) + 1 :] for path in paths if path.startswith(f"{folder}/"))
        here = [path for path in inside if path and "/" not in path.rstrip("/")]
        folders = "".join(
            f"<Directory><Name>{escape(name.rstrip('/'))}</Name><Properties/></Directory>"
            for name in here
            if name.endswith("/")
        )
        files = "".join(
            f"<File><Name>{escape(name)}</Name><Properties><Content-Length>0</Content-Length></Properties></File>"
            for name in here
            if not name.endswith("/")
        )
        return (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ShareName="{share}" '
            f'DirectoryPath="{escape(folder)}"><Entries>{folders}{files}</Entries><NextMarker/></EnumerationResults>'
        )

    def delete_folder(self, share: str, folder: str) -> None:
        """Only an empty one."""
        paths = self._paths(share)
        if f"{folder}/" not in paths:
            raise Refusal(404, "ResourceNotFound")
        if any(path != f"{folder}/" and path.startswith(f"{folder}/") for path in paths):
            raise Refusal(409, "DirectoryNotEmpty")
        paths.discard(f"{folder}/")

    def delete_file(self, share: str, file: str) -> None:
        """A file."""
        paths = self._paths(share)
        if file not in paths:
            raise Refusal(404, "ResourceNotFound")
        paths.discard(file)

    def _paths(self, share: str) -> set[str]:
        if share not in self.paths:
            raise Refusal(404, "ShareNotFound")
        return self.paths[share]
