"""Defects of api-gateway."""

from tests.mutants.mutant import Edit, Mutant

_ADMISSION = "api-gateway/app/edge_middleware.py"
_HEADERS = "api-gateway/app/headers.py"
_FORWARDING = "api-gateway/app/forwarding.py"


def _mutant(name: str, promises: tuple[int, ...], test: str, *edits: Edit) -> Mutant:
    return Mutant(name, promises, "api-gateway", test, edits)


GATEWAY = [
    _mutant(
        "what-is-not-there-is-not-counted",
        (50,),
        "tests/integration/test_limits.py"
        "::test_every_answer_tells_the_standing_and_every_request_counts",
        Edit(
            _ADMISSION,
            "        standing = await self._quota.count(visit.group, visit.caller.key)\n",
            """\
        key = visit.caller.key if visit.address.operation else visit.request_id
        standing = await self._quota.count(visit.group, key)
""",
        ),
    ),
    _mutant(
        "identity-header-is-passed-on",
        (43,),
        "tests/integration/test_headers.py"
        "::test_promise_43_identity_headers_of_any_spelling_do_not_arrive",
        Edit(_HEADERS, '    "User-Agent",\n', '    "User-Agent",\n    "X-User-Id",\n'),
    ),
    _mutant(
        "any-token-opens-every-door",
        (49,),
        "tests/integration/test_tokens.py"
        "::test_promise_49_each_operation_lets_through_whom_the_table_names",
        Edit(
            _FORWARDING,
            """\
        if not operation.access.allows(identity):
            raise Forbidden(f"This is for {operation.access.value}.")
""",
            "",
        ),
    ),
]
