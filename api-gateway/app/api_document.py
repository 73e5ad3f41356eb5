"""Merge the services' OpenAPI documents into one, with the operations of the role table."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.errors import (
    Forbidden,
    InvalidUpstreamResponse,
    QuotaExceeded,
    Unauthenticated,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.policy import Access, Operation
from app.service_document import Component, ServiceDocument, references, rewritten
from chassis.problems import PROBLEM_SCHEMA, Problem, problem_responses

SCOPES = {"openid": "your identity", "email": "your address, which identifies your orders"}

_GATEWAY = "api-gateway"
_ABOUT = (
    "All services, through the gateway. *Authorize* logs in at the identity provider; "
    "*Try it out* then sends your token. Rate limits apply per caller and route group; the "
    "RateLimit headers of every response contain the remaining requests."
)
_COMMON_PROBLEMS = (
    Unauthenticated,
    QuotaExceeded,
    InvalidUpstreamResponse,
    UpstreamUnreachable,
    UpstreamBusy,
    UpstreamTimeout,
)
_LOGIN = [{"login": list(SCOPES)}, {"bearer": []}]

_Names = Mapping[str, Callable[[Component], str]]


def merged_document(
    documents: Mapping[str, ServiceDocument | None], table: Iterable[Operation], issuer: str
) -> dict[str, Any]:
    """Return one document for all services.

    Args:
        documents: by service; None if the service's document was never fetched.
        issuer: the identity provider's realm, at the address that browsers use.
    """
    known = {service: document for service, document in documents.items() if document is not None}
    components = {service: document.components for service, document in known.items()}
    components[_GATEWAY] = {("schemas", "Problem"): PROBLEM_SCHEMA}
    names = _names(components)
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for operation in table:
        document = known.get(operation.upstream)
        offered = document.operations.get((operation.method, operation.path)) if document else None
        if offered is None or not operation.path.startswith("/api/"):
            continue
        shown = _operation(operation, offered, names)
        if "operationId" in shown:
            shown["operationId"] = _unused(shown["operationId"], operation.upstream, ids)
        paths.setdefault(operation.path, {})[operation.method.lower()] = shown
    return {
        "openapi": "3.1.0",
        "info": _info([service for service, document in documents.items() if document is None]),
        "tags": [{"name": service, "description": known[service].about} for service in known],
        "paths": paths,
        "components": {
            **_merge_components(components, names),
            "securitySchemes": _security_schemes(issuer),
        },
    }


def _info(absent: list[str]) -> dict[str, str]:
    about = _ABOUT
    if absent:
        about += f"\n\n**Not shown, because their documents are missing: {', '.join(absent)}.**"
    return {"title": "The shop's API", "version": "1.0.0", "description": about}


def _security_schemes(issuer: str) -> dict[str, Any]:
    protocol = f"{issuer.rstrip('/')}/protocol/openid-connect"
    token = {"tokenUrl": f"{protocol}/token", "scopes": SCOPES}
    code = {"authorizationUrl": f"{protocol}/auth", "refreshUrl": f"{protocol}/token", **token}
    return {
        "login": {
            "type": "oauth2",
            "description": "Authorization code with PKCE in a browser; password in scripts.",
            "flows": {"authorizationCode": code, "password": token},
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token.",
        },
    }


def _operation(operation: Operation, offered: dict[str, Any], names: _Names) -> dict[str, Any]:
    shown: dict[str, Any] = rewritten(offered, names[operation.upstream])
    public = operation.access is Access.PUBLIC
    for_whom = f"**For {operation.access.value}.**"
    shown["description"] = "\n\n".join(filter(None, [for_whom, shown.get("description")]))
    shown["tags"] = [operation.upstream]
    shown["security"] = [] if public else _LOGIN
    problems: tuple[type[Problem], ...] = (
        _COMMON_PROBLEMS if public else (*_COMMON_PROBLEMS, Forbidden)
    )
    for status, answer in problem_responses(*problems).items():
        if status != 422:  # only services validate bodies
            shown["responses"].setdefault(str(status), rewritten(answer, names[_GATEWAY]))
    shown["responses"] = dict(sorted(shown["responses"].items()))
    return shown


def _unused(wanted: str, service: str, taken: set[str]) -> str:
    """Return an operationId that is unique in the document."""
    while wanted in taken:
        wanted = f"{service}_{wanted}"
    taken.add(wanted)
    return wanted


def _names(components: Mapping[str, Mapping[Component, Any]]) -> _Names:
    """Return each service's component names: unchanged, unless two services' contents differ.

    Args:
        components: by service.
    """
    holders: dict[Component, list[str]] = {}
    for service, own in components.items():
        for component in own:
            holders.setdefault(component, []).append(service)
    differing = _differing(components, holders)
    taken = set(holders) - differing
    renamed: dict[tuple[str, Component], str] = {}
    for section, name in sorted(differing):
        for service in holders[section, name]:
            new = f"{service.removesuffix('-service')}_{name}"
            while (section, new) in taken:
                new += "_"
            taken.add((section, new))
            renamed[service, (section, name)] = new

    def name_in(service: str) -> Callable[[Component], str]:
        return lambda component: renamed.get((service, component), component[1])

    return {service: name_in(service) for service in components}


def _differing(
    components: Mapping[str, Mapping[Component, Any]], holders: Mapping[Component, list[str]]
) -> set[Component]:
    """Return the components that two services define differently.

    A component also differs if one that it refers to, directly or indirectly, differs.
    """
    users: dict[Component, set[Component]] = {}
    found: list[Component] = []
    for component, services in holders.items():
        if len(services) < 2:
            continue
        contents = [components[service][component] for service in services]
        if len({_text(content) for content in contents}) > 1:
            found.append(component)
        for used in references(contents[0]):
            users.setdefault(used, set()).add(component)
    differing: set[Component] = set()
    while found:
        component = found.pop()
        if component not in differing:
            differing.add(component)
            found += users.get(component, ())
    return differing


def _text(content: Any) -> str:
    """Return JSON to compare by: 1 equals True in Python but not in JSON."""
    return json.dumps(content, sort_keys=True)


def _merge_components(
    components: Mapping[str, Mapping[Component, Any]], names: _Names
) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for service, own in components.items():
        for component, content in own.items():
            section = merged.setdefault(component[0], {})
            section[names[service](component)] = rewritten(content, names[service])
    return {section: dict(sorted(members.items())) for section, members in merged.items()}
