"""Where saves are kept, as an operator writes it, and each server's repository in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from overworld.domain.errors import BadInput
from overworld.domain.servers import ServerId
from overworld.saves.base import Repository

_FORM = "it must be local:/folder or s3:endpoint/bucket/prefix, for example s3:s3.eu-central-003.backblazeb2.com/saves"
_PLAIN = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_REGION = re.compile(r"s3\.([a-z0-9-]+)\.")


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """A local folder, or a bucket (and prefix) behind an S3 endpoint with the key for it. Printing it shows no secret.

    One repository per server lies in it: a lock, a fault or a stolen password concerns one server, and forgetting a
    server is removing its folder.
    """

    folder: Path | None = None
    endpoint: str = ""
    bucket: str = ""
    prefix: str = ""
    key_id: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    region: str = ""
    ca_file: Path | None = None

    def repository(self, server_id: ServerId | str, password: str) -> Repository:
        """The repository of one server. ``server_id`` is one plain name."""
        name = str(server_id)
        if not name or PurePosixPath(name).name != name or name in {".", ".."}:
            raise BadInput(f"{name!r} cannot be the name of a repository.")
        if self.folder is not None:
            return Repository(str(self.folder / name), password)
        path = "/".join(part for part in (self.bucket, self.prefix, name) if part)
        return Repository(f"s3:{self.endpoint}/{path}", password, self._environment(), self.ca_file)

    def _environment(self) -> Mapping[str, str]:
        region = {"AWS_DEFAULT_REGION": self.region} if self.region else {}
        return {"AWS_ACCESS_KEY_ID": self.key_id, "AWS_SECRET_ACCESS_KEY": self.secret, **region}


def parse_location(
    text: str, *, key_id: str = "", secret: str = "", region: str = "", ca_file: Path | None = None
) -> StoreLocation:
    """The location that an operator wrote: ``local:/folder``, or ``s3:endpoint/bucket/prefix`` with a key.

    The endpoint is a host (then https) or a URL; plain http only to this machine itself, for tests. Raises
    ``BadInput``, which says what is wrong and never shows a secret.
    """
    kind, _, rest = text.partition(":")
    if kind == "local":
        if not rest.startswith("/"):
            raise BadInput(f"{text!r} is no place for saves: a local folder starts with a slash; {_FORM}.")
        return StoreLocation(folder=Path(rest))
    if kind != "s3":
        raise BadInput(f"{text!r} is no place for saves: {_FORM}.")
    scheme, separator, address = rest.partition("://")
    if not separator:
        scheme, address = "https", rest
    host, _, path = address.partition("/")
    bucket, _, prefix = path.strip("/").partition("/")
    endpoint = f"{scheme}://{host}"
    if not host or not bucket or "@" in host:
        raise BadInput(f"{text!r} is no place for saves: {_FORM}.")
    if scheme != "https" and not _PLAIN.fullmatch(endpoint):
        raise BadInput(f"{text!r} would send keys over the network unencrypted: the endpoint must be https.")
    if not region and (named := _REGION.match(host)):  # otherwise restic asks the store for it, each time
        region = named[1]
    if not key_id or not secret:
        raise BadInput("A save store behind S3 needs a key: its id and its secret.")
    return StoreLocation(
        endpoint=endpoint,
        bucket=bucket,
        prefix=prefix,
        key_id=key_id,
        secret=secret,
        region=region,
        ca_file=ca_file,
    )
