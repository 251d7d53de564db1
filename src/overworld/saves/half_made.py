"""Clearing away a repository whose making was interrupted.

restic writes a key first and the config last. Killed between the two, it leaves a key that opens nothing, and from then
on refuses to make a repository there ("already contains keys"), for ever. It has no command for that, so the keys are
removed here: by the file system, or by the two requests of S3 that it takes, signed as AWS documents it (Signature
Version 4). A repository that has anything but keys is never touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from overworld.domain.errors import SaveStoreUnavailable
from overworld.saves.base import Repository
from overworld.saves.faults import derive_refusal

_NOTHING = hashlib.sha256(b"").hexdigest()
_TIMEOUT_SECONDS = 30.0
_KEY = re.compile(r"<Key>(.*?)</Key>", re.S)


async def clear(repository: Repository) -> bool:
    """The leftover keys are gone, if keys are all there is; whether that was so. Safe to call twice."""
    if repository.folder is not None:
        return await asyncio.to_thread(_clear_folder, repository.folder)
    url = urlsplit(repository.url.removeprefix("s3:"))
    bucket, _, prefix = url.path.strip("/").partition("/")
    trust = ssl.create_default_context(cafile=repository.ca_file)
    base_url = f"{url.scheme}://{url.netloc}"
    async with httpx.AsyncClient(base_url=base_url, timeout=_TIMEOUT_SECONDS, verify=trust) as client:
        listed = await _request(client, repository, "GET", f"/{bucket}", {"list-type": "2", "prefix": f"{prefix}/"})
        names = [unescape(name) for name in _KEY.findall(listed)]
        if not names or not all(name.startswith(f"{prefix}/keys/") for name in names):
            return False
        for name in names:
            await _request(client, repository, "DELETE", f"/{bucket}/{name}", {})
    return True


def _clear_folder(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    if not files or not all(path.parent == folder / "keys" for path in files):
        return False
    for path in files:
        path.unlink(missing_ok=True)
    return True


async def _request(
    client: httpx.AsyncClient, repository: Repository, method: str, path: str, query: Mapping[str, str]
) -> str:
    try:
        target, signed = _sign(
            repository, method, path, query, host=client.base_url.netloc.decode(), now=datetime.now(UTC)
        )
        answer = await client.request(method, target, headers=signed)
    except httpx.HTTPError as error:
        raise SaveStoreUnavailable(f"The save store does not answer; it is tried again later ({error}).") from error
    if answer.is_success:
        return answer.text
    raise derive_refusal(answer.text) or SaveStoreUnavailable(
        f"The save store answered {answer.status_code}; it is tried again later."
    )


def _sign(
    repository: Repository, method: str, path: str, query: Mapping[str, str], *, host: str, now: datetime
) -> tuple[str, dict[str, str]]:
    """The path with its query, and the headers that prove who asks."""
    region = repository.environment.get("AWS_DEFAULT_REGION", "us-east-1")
    moment, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    headers = {"host": host, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
    names = ";".join(headers)
    encoded_path = quote(path)
    encoded_query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(query.items()))
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join([method, encoded_path, encoded_query, *lines, "", names, _NOTHING])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{repository.environment['AWS_SECRET_ACCESS_KEY']}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{repository.environment['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return f"{encoded_path}?{encoded_query}" if encoded_query else encoded_path, headers
