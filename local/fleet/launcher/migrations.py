"""Check whether a database already has a service's newest migration.

Starting Alembic only for this check would take more than a second of CPU for each service.
"""

from __future__ import annotations

import ast
import threading
from pathlib import Path

from fleet.processes.program import run_async

_PARSING = threading.Lock()
"""Python 3.11's parser shares its recursion counter between threads, so one thread parses."""


def is_current(versions: Path, url: str) -> bool:
    """Return True only if the database certainly has the newest migration."""
    heads = newest(versions)
    return len(heads) == 1 and run_async(_applied(url)) == heads


def newest(versions: Path) -> set[str]:
    """Return the revisions that have no successor."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for path in versions.glob("*.py"):
        names = _assigned(path)
        revisions |= names.get("revision", set())
        followed |= names.get("down_revision", set())
    return revisions - followed


def _assigned(path: Path) -> dict[str, set[str]]:
    """Return the strings that a module assigns to each of its top-level names."""
    found: dict[str, set[str]] = {}
    with _PARSING:
        module = ast.parse(path.read_text(encoding="utf-8"))
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        texts = {node.value for node in ast.walk(value) if isinstance(node, ast.Constant)}
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = {text for text in texts if isinstance(text, str)}
    return found


async def _applied(url: str) -> set[str]:
    import asyncpg

    plain = f"postgresql://{url.partition('://')[2]}"
    try:
        connection = await asyncpg.connect(plain, timeout=5)
        try:
            rows = await connection.fetch("SELECT version_num FROM alembic_version", timeout=5)
        finally:
            await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return set()
    return {row["version_num"] for row in rows}
