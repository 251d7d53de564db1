"""The share's folders and files as real ones, so that whoever mounts them and whoever asks Azure see the same."""

from __future__ import annotations

from pathlib import Path

from azure_standin.operations import Refusal
from azure_standin.shares import Shares


class SharesInFolder(Shares):
    """``folder/<share>/<path>``; the rules are those of ``Shares``."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def make(self, share: str, quota_gib: int) -> bool:
        """The share exists with that size; True if it is new."""
        (self.folder / share).mkdir(parents=True, exist_ok=True)
        return super().make(share, quota_gib)

    def make_folder(self, share: str, folder: str) -> None:
        """A new folder."""
        super().make_folder(share, folder)
        (self.folder / share / folder).mkdir()

    def delete_folder(self, share: str, folder: str) -> None:
        """Only an empty one."""
        super().delete_folder(share, folder)
        (self.folder / share / folder).rmdir()

    def delete_file(self, share: str, file: str) -> None:
        """A file."""
        super().delete_file(share, file)
        (self.folder / share / file).unlink()

    def _paths(self, share: str) -> set[str]:
        root = self.folder / share
        if not root.is_dir():
            raise Refusal(404, "ShareNotFound")
        return {f"{path.relative_to(root)}{'/' if path.is_dir() else ''}" for path in root.rglob("*")}
