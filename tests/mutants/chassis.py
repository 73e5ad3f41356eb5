"""Defects of the shared package: outbox relay, consumer, circuit breaker, tokens."""

from tests.mutants.mutant import Edit, Mutant

_RELAY = "libs/chassis/chassis/postgres/relay.py"
_HANDLE = "            outcome = await self._handle(message, state)\n"
_PROCESSOR = "libs/chassis/chassis/kafka/message_processor.py"
_BREAKER = "libs/chassis/chassis/http_client/breaker.py"
_AUTH = "libs/chassis/chassis/security/token_verifier.py"

_OUTBOX = "tests/integration/test_outbox.py"
_MESSAGES = "tests/unit/test_message_processor.py"
_FORGED = "tests/integration/test_token_verifier.py::test_forged_token_is_refused"


def _mutant(name: str, promises: tuple[int, ...], test: str, *edits: Edit) -> Mutant:
    return Mutant(name, promises, "libs/chassis", test, edits)


CHASSIS = [
    _mutant(
        "relay-continues-after-the-last-id",
        (18,),
        f"{_OUTBOX}::test_promise_18_late_commit_is_not_skipped",
        Edit(
            _RELAY,
            "        _IS_PENDING,\n        ~exists()",
            "        outbox.c.seq > select(func.coalesce(func.max(_parked.c.seq), 0))"
            ".where(_parked.c.published_at.is_not(None)).scalar_subquery(),\n        ~exists()",
        ),
    ),
    _mutant(
        "relay-without-its-lock",
        (19,),
        f"{_OUTBOX}::test_only_one_of_three_relays_publishes_each_event",
        Edit(_RELAY, "select(func.pg_try_advisory_lock(_LOCK))", "select(literal(_LOCK > 0))"),
    ),
    _mutant(
        "relay-marks-before-it-sends",
        (16,),
        f"{_OUTBOX}::test_promise_17_broker_outage_only_delays_events",
        Edit(
            _RELAY,
            "        done = _Round()\n",
            "        done = _Round()\n        done.sent += [row.seq for row in rows]\n",
        ),
    ),
    _mutant(
        "parked-row-does-not-block-its-aggregate",
        (19, 20),
        f"{_OUTBOX}::test_promise_20_unsendable_row_blocks_only_its_aggregate",
        Edit(
            _RELAY,
            "        ~exists().where(_parked.c.key == outbox.c.key,"
            " _parked.c.parked_at.is_not(None)),\n",
            "",
        ),
    ),
    _mutant(
        "offset-before-the-message-is-handled",
        (23,),
        f"{_MESSAGES}::test_offset_is_committed_after_the_message_was_handled",
        Edit(
            _PROCESSOR,
            _HANDLE,
            "            await self.finish(record)\n" + _HANDLE,
        ),
    ),
    _mutant(
        "offset-without-the-dead-letter",
        (26,),
        f"{_MESSAGES}::test_dead_letter_is_acknowledged_before_its_offset_is_committed",
        Edit(
            _PROCESSOR,
            """\
        await self._write(message, partial(self._group.dead_letters.write, message, failure))
""",
            """\
        with suppress(BrokerUnavailable):
            await self._group.dead_letters.write(message, failure)
""",
        ),
    ),
    _mutant(
        "deferred-message-is-lost-while-the-broker-is-away",
        (64,),
        f"{_MESSAGES}::test_deferred_message_is_on_the_retry_topic_before_its_offset_is_committed",
        Edit(
            _PROCESSOR,
            """\
        await self._write(message, partial(self._group.retries.defer, message, deferral))
""",
            """\
        with suppress(BrokerUnavailable):
            await self._group.retries.defer(message, deferral)
""",
        ),
    ),
    _mutant(
        "every-error-of-a-body-is-listed",
        (63,),
        "tests/unit/test_web.py::test_promise_63_422_lists_at_most_20_errors_in_a_few_kilobytes",
        Edit("libs/chassis/chassis/problems.py", "MAX_ERRORS = 20\n", "MAX_ERRORS = 100_000\n"),
    ),
    _mutant(
        "body-behind-an-upgrade-offer-is-skipped",
        (68,),
        "tests/integration/test_upgrade_offers.py"
        "::TestEachOffer::test_post_with_an_offer_keeps_its_body",
        Edit(
            "libs/chassis/chassis/app/http_parser.py",
            "                rest = rest[stop.args[0] :]\n",
            "                return\n",
        ),
    ),
    _mutant(
        "half-open-admits-every-call",
        (34,),
        "tests/unit/test_breaker.py::test_half_open_circuit_admits_one_of_a_hundred_callers",
        Edit(
            _BREAKER,
            """\
            if self._probe_running:
                self._refuse(_PROBE_RETRY_AFTER)
""",
            "",
        ),
    ),
    _mutant(
        "audience-is-not-verified",
        (39,),
        _FORGED,
        # jose verifies each required claim, so the second edit alone would have no effect.
        Edit(_AUTH, '("exp", "iat", "iss", "aud", "sub")', '("exp", "iat", "iss", "sub")'),
        Edit(
            _AUTH,
            '"leeway": leeway, "verify_at_hash": False',
            '"leeway": leeway, "verify_at_hash": False, "verify_aud": False',
        ),
    ),
    _mutant(
        "id-token-is-accepted",
        (39,),
        _FORGED,
        Edit(_AUTH, 'if claims.get("typ") != "Bearer":', 'if claims.get("typ") == "Refresh":'),
    ),
]
