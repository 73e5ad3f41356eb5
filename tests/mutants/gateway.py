"""Defects of api-gateway."""

from tests.mutants.mutant import Edit, Mutant

_EDGE = "api-gateway/app/edge_middleware.py"
_HEADERS = "api-gateway/app/headers.py"
_FORWARDING = "api-gateway/app/forwarding.py"


def _mutant(name: str, promises: tuple[int, ...], test: str, *edits: Edit) -> Mutant:
    return Mutant(name, promises, "api-gateway", test, edits)


GATEWAY = [
    _mutant(
        "request-without-operation-is-not-counted",
        (50,),
        "tests/integration/test_limits.py"
        "::test_every_request_counts_and_every_response_has_ratelimit_headers",
        Edit(
            _EDGE,
            "        status = await self._rate_limiter.hit(group, request.caller.rate_limit_key)\n",
            """\
        key = request.caller.rate_limit_key if request.match.operation else request.request_id
        status = await self._rate_limiter.hit(group, key)
""",
        ),
    ),
    _mutant(
        "identity-header-is-forwarded",
        (43,),
        "tests/integration/test_headers.py"
        "::test_promise_43_identity_headers_of_any_spelling_are_dropped",
        Edit(_HEADERS, '    "User-Agent",\n', '    "User-Agent",\n    "X-User-Id",\n'),
    ),
    _mutant(
        "any-token-may-call-every-operation",
        (49,),
        "tests/integration/test_tokens.py"
        "::test_promise_49_each_operation_admits_only_the_roles_of_the_table",
        Edit(
            _FORWARDING,
            """\
        if not operation.access.allows(identity):
            raise Forbidden(f"This operation is for {operation.access.value}.")
""",
            "",
        ),
    ),
]
