"""Whether a database already has a service's last migration.

Alembic would say so itself, but loading it for that takes more than a second of a processor; two of
them are a fifth of the fleet's whole start.
"""

from __future__ import annotations

import ast
import threading
from pathlib import Path

from fleet.processes.program import run_async

_PARSING = threading.Lock()
"""Python 3.11's parser keeps its depth in one place for all threads, and raises when two meet."""


def is_current(versions: Path, url: str) -> bool:
    """Compare the newest migration with the database; any doubt is a no, and Alembic decides."""
    heads = newest(versions)
    return len(heads) == 1 and run_async(_applied(url)) == heads


def newest(versions: Path) -> set[str]:
    """The revisions that no other one follows."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for path in versions.glob("*.py"):
        names = _assigned(path)
        revisions |= names.get("revision", set())
        followed |= names.get("down_revision", set())
    return revisions - followed


def _assigned(path: Path) -> dict[str, set[str]]:
    """The strings (alone or in a tuple) that a module assigns to each name at its top."""
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
