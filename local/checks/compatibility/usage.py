"""Which topics a service's code sends to and receives from: read from its source, not run.

A topic is identified by its name, as a literal or a constant of the service. A topic passed to a
subscription or a consumer is received; a topic passed to another call is sent. A service sends to
and receives from its retry topics.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_GROUPED, _WHOLE, _RETRIES = "Subscription", "AIOKafkaConsumer", "RetryTopics"


@dataclass
class Usage:
    """Of one service."""

    sends: set[str] = field(default_factory=set)
    receives: set[str] = field(default_factory=set)
    """As a group, in which one replica gets a message."""
    follows: set[str] = field(default_factory=set)
    """From the beginning and without a group: every replica gets every message."""
    retries: set[str] = field(default_factory=set)
    """Sent to and received from, by the group of the topics that they serve."""


def usage_of(folder: Path, topics: Collection[str]) -> Usage:
    """Return how the package ``app`` of a service uses these topics."""
    trees = [ast.parse(path.read_text()) for path in sorted((folder / "app").rglob("*.py"))]
    constants = dict(pair for tree in trees for pair in _constants(tree))
    usage = Usage()
    for tree in trees:
        local = constants | dict(_constants(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            for topic in _named(call, local) & set(topics):
                _where(usage, call).add(topic)
    return usage


def _where(usage: Usage, call: ast.Call) -> set[str]:
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return {
        _GROUPED: usage.receives,
        _WHOLE: usage.follows,
        _RETRIES: usage.retries,
    }.get(name, usage.sends)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    yield target.id, node.value.value


def _named(call: ast.Call, constants: dict[str, str]) -> set[str]:
    """The texts among a call's own arguments, and in a tuple among them."""
    found = set()
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    for argument in list(arguments):
        if isinstance(argument, ast.Tuple):
            arguments += argument.elts
    for argument in arguments:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            found.add(argument.value)
        elif isinstance(argument, ast.Name) and argument.id in constants:
            found.add(constants[argument.id])
    return found
