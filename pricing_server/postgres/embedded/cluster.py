"""The files of an embedded server: made once, and put in order before each start."""

import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pricing_server.postgres.embedded.host import Account, EmbeddedPostgresError, major_version

NAME = "pricing"  # of the database, and of the role that owns it

_SHM = Path("/dev/shm")  # noqa: S108 - looked at, not written to
_MINIMAL_SHM = 4 * 1024 * 1024  # bytes; initdb fails below
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
# A socket's path is limited to 107 bytes, and the setting's syntax gives some characters meaning.
_SOCKET_DIRECTORY = re.compile(r"[\w./-]{1,85}", re.ASCII)

# Includes what initdb wrote, so that a newer build's settings need no edit of the cluster's files.
_SETTINGS = """\
include 'cluster/postgresql.conf'
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
max_connections = 100
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
# Locks of a client that died are freed soon, even while its query runs or its host is gone.
client_connection_check_interval = '1s'
tcp_keepalives_idle = 10
tcp_keepalives_interval = 5
tcp_keepalives_count = 3
"""


@dataclass(frozen=True, slots=True)
class Command:
    """How to run the server."""

    arguments: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One server's directory, `home`, and the programs and the account that go with it.

    `initialise` and `prepare_start` are for the holder of the lock that no server is alive.
    """

    home: Path
    account: Account
    binaries: Path

    @property
    def data(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def port(self) -> int:
        """The TCP port of the last start; 0 before the first."""
        try:
            return int((self.home / "port").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def password(self) -> str:
        return (self.home / "password").read_text().strip()

    def run_client(self, tool: str, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Runs a client over the private socket: on the TCP port, a stranger might answer.

        Returns its exit code and what it complained of.
        """
        address = ["-h", os.path.realpath(self.home / "sockets"), "-p", str(self.port)]
        address += ["-U", NAME, "-d", "postgres"]
        # Not as an argument, which everybody on the machine can read.
        done = self._run(tool, *address, *arguments, stdin=stdin, PGPASSWORD=self.password)
        return done.returncode, last_lines(done.stderr)

    def initialise(self, lock: int) -> None:
        """Makes the password and the data, which exist only when complete.

        initdb inherits `lock`: should this process be killed, the next start waits for its end.
        """
        if _SHM.exists() and (shm := os.statvfs(_SHM)).f_frsize * shm.f_blocks < _MINIMAL_SHM:
            raise EmbeddedPostgresError(
                f"{_SHM} has less than 4 MB: run the container with --shm-size=64m"
            )
        if not (self.home / "password").exists():
            _write(self.home / "password", secrets.token_urlsafe(32) + "\n", 0o600)
        unfinished = self.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(0o700)
        self.account.own(unfinished)
        locale = ["--locale=C"]
        if major_version(self.binaries) >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # A copy, because the account must not own the original.
        with tempfile.NamedTemporaryFile("w", dir=self.home) as password:
            self.account.own(Path(password.name))
            password.write(self.password)
            password.flush()
            done = self._run(
                "initdb",
                *("-D", str(unfinished), "-U", NAME, f"--pwfile={password.name}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", *locale),
                pass_fds=[lock],
            )
        if done.returncode:
            raise EmbeddedPostgresError(f"initdb failed: {last_lines(done.stdout + done.stderr)}")
        unfinished.rename(self.data)

    def prepare_start(self) -> Command:
        """Chooses a port, writes the settings, clears what a crash left; how to start then."""
        port = _choose_port(self.port)
        settings = self.home / "settings.conf"
        _write(settings, _SETTINGS.format(port=port, sockets=self._empty_sockets()), 0o644)
        _write(self.home / "port", f"{port}\n", 0o644)
        if self.log.exists():
            self.log.replace(f"{self.log}.1")
        postgres = str(self.binaries / "postgres")
        return Command(
            [postgres, "-D", str(self.data), "-c", f"config_file={settings}"],
            _ENVIRONMENT | self._past_postmaster(),
        )

    def _run(
        self,
        tool: str,
        *arguments: str,
        stdin: str = "",
        pass_fds: Sequence[int] = (),
        **environment: str,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a program of PostgreSQL as the server's account."""
        return subprocess.run(
            [self.binaries / tool, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd="/",  # The account may not be able to enter ours.
            env=_ENVIRONMENT | environment,
            user=self.account.uid,
            group=self.account.gid,
            extra_groups=self.account.extra_groups,
            pass_fds=pass_fds,
        )

    def _empty_sockets(self) -> Path:
        """The server's private directory for its socket; if `home` does not suit, in /tmp."""
        sockets = self.home / "sockets"
        if _SOCKET_DIRECTORY.fullmatch(str(sockets)):
            sockets.mkdir(0o700, exist_ok=True)
            self.account.own(sockets)
            place = sockets
        elif sockets.is_symlink() and self._made(sockets.readlink()):
            place = sockets.readlink()
        else:
            sockets.unlink(missing_ok=True)
            place = Path(tempfile.mkdtemp(prefix="llmpricing-", dir="/tmp"))
            self.account.own(place)
            sockets.symlink_to(place)
        for left in place.glob(".s.PGSQL.*"):
            left.unlink()
        return place

    def _made(self, directory: Path) -> bool:
        """Whether this is still our directory: /tmp may have been emptied, and others write there.

        Nobody else can make one that belongs to the account.
        """
        try:
            status = directory.lstat()
        except FileNotFoundError:
            return False
        owner = os.geteuid() if self.account.uid is None else self.account.uid
        return stat.S_ISDIR(status.st_mode) and status.st_uid == owner

    def _past_postmaster(self) -> dict[str, str]:
        """Environment that keeps PostgreSQL from taking a stranger for the server that ended.

        No process of that server is alive, but its id may now be another's. PostgreSQL ignores the
        id in this variable, made for pg_ctl, and still checks that no shared memory of the cluster
        is in use, as it would be by a server started by hand.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return {}
        pid = pid_file.read_text(errors="replace").partition("\n")[0]
        if re.fullmatch("[0-9]+", pid):
            return {"PG_GRANDPARENT_PID": pid}
        pid_file.unlink()  # Empty or torn by a crash of the machine: PostgreSQL would give up.
        return {}


def port_is_free(port: int) -> bool:
    """Whether a server on 127.0.0.1 could listen on `port`."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, OverflowError):
        return False
    return True


def last_lines(output: str) -> str:
    """The end of a program's output, as one line."""
    return " / ".join([line.strip() for line in output.splitlines() if line.strip()][-3:])


def _write(path: Path, text: str, mode: int) -> None:
    """Replaces the file at once, so that others read it whole."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    os.replace(file.name, path)


def _choose_port(before: int) -> int:
    if before and port_is_free(before):
        return before
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
