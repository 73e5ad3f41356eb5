"""Defects of order-service and of its HTTP client."""

from tests.mutants.mutant import Edit, Mutant

_SERVICE = "order-service/app/services/order_service.py"
_RECOVERY = "order-service/app/services/recovery.py"
_ORDERS = "order-service/app/repositories/order_repository.py"
_SCHEMAS = "order-service/app/schemas/order.py"
_CHECK = "order-service/app/services/pre_order_checks.py"
_DATABASE = "order-service/app/database.py"
_HTTP = "libs/chassis/chassis/http_client/client.py"
_IDEMPOTENCY = "libs/chassis/chassis/app/idempotency.py"

_PLACE = "tests/integration/test_placing.py"
_KEYS = "tests/integration/test_idempotency.py"
_OWN = "tests/integration/test_ownership.py"

_NO_EVENT = Edit(
    _ORDERS,
    ".add_cte(_answered, _announced)",
    ".add_cte(_answered)",
)
_CONFIRM = "        return await self._connection.scalar(_CONFIRM, values) is not None\n"


def _mutant(name: str, promises: tuple[int, ...], test: str, *edits: Edit) -> Mutant:
    return Mutant(name, promises, "order-service", test, edits)


ORDERS = [
    _mutant(
        "event-outside-the-transaction",
        (16,),
        f"{_PLACE}::test_failed_commit_does_not_return_201",
        _NO_EVENT,
        Edit(
            _ORDERS,
            _CONFIRM,
            "        await self._connection.execute(insert_events(), event)\n" + _CONFIRM,
        ),
    ),
    _mutant(
        "confirmed-without-an-event",
        (16,),
        f"{_PLACE}::test_confirm_with_lost_commit_reply_returns_201",
        _NO_EVENT,
    ),
    _mutant(
        "confirms-an-order-that-is-not-pending",
        (6, 13),
        f"{_PLACE}::test_order_paused_past_its_lease_is_not_confirmed",
        Edit(
            _ORDERS,
            """\
    .where(_is_order, _is_pending)
    .values(
        status=OrderStatus.CONFIRMED,
""",
            """\
    .where(_is_order)
    .values(
        cancelled_by=None,
        stock_debt=False,
        status=OrderStatus.CONFIRMED,
""",
        ),
    ),
    _mutant(
        "refused-order-keeps-its-key",
        (13, 15),
        f"{_KEYS}::test_order_refused_at_the_reduction_releases_its_key",
        Edit(
            _SERVICE,
            """\
            if cancelled:
                await self._keys(connection).release(order_id)
""",
            "",
        ),
    ),
    _mutant(
        "order-is-stored-despite-a-taken-key",
        (10,),
        f"{_KEYS}::test_promise_10_fifty_requests_with_one_key_make_one_order",
        Edit(_ORDERS, "order.select_from(claim.cte(", "order.add_cte(claim.cte("),
    ),
    _mutant(
        "requests-are-compared-as-text",
        (65,),
        f"{_KEYS}::test_key_of_the_last_release_replays_after_an_optional_field_was_added",
        Edit(
            _IDEMPOTENCY,
            "    return _comparable(earlier) == _comparable(request)\n",
            "    return bool(earlier) and stored == request.model_dump_json()\n",
        ),
    ),
    _mutant(
        "reduce-retried-under-another-key",
        (6,),
        f"{_PLACE}::test_late_reduction_of_a_cancelled_order_takes_nothing",
        Edit(
            _HTTP,
            "            try:\n                return await self._http.request(\n",
            """\
            if call.attempts > 1 and "idempotency-key" in headers:
                headers["idempotency-key"] += f"-{call.attempts}"
            try:
                return await self._http.request(
""",
        ),
    ),
    _mutant(
        "lost-reply-leaves-no-stock-debt",
        (6,),
        f"{_PLACE}::test_promise_6_stock_is_returned_when_every_reply_is_lost",
        Edit(
            _SERVICE,
            "if await self._cancel_pending(order_id, stock_debt=True):",
            "if await self._cancel_pending(order_id, stock_debt=False):",
        ),
    ),
    _mutant(
        "recovery-forgets-the-stock",
        (13,),
        f"{_PLACE}::test_promise_13_order_of_a_crashed_process_is_cancelled_and_its_key_released",
        Edit(
            _RECOVERY,
            "        await self._inventory.reverse("
            "order.id, Deadline.after(self._settings.place_deadline))\n",
            "",
        ),
    ),
    _mutant(
        "cancels-without-locking-the-order",
        (9,),
        f"{_PLACE}::test_promise_9_exactly_one_of_cancellation_and_shipment_wins",
        Edit(_SERVICE, "order_id, for_update=True)", "order_id)"),
    ),
    _mutant(
        "any-customer-reads-an-order",
        (48,),
        f"{_OWN}::test_promise_48_customer_cannot_access_an_order_of_another",
        Edit(
            _SERVICE,
            "        caller.require_own(order.customer_email)\n        return order\n",
            "        return order\n",
        ),
    ),
    _mutant(
        "any-customer-cancels-an-order",
        (48,),
        f"{_OWN}::test_promise_48_customer_cannot_access_an_order_of_another",
        Edit(
            _SERVICE,
            "            caller.require_own(order.customer_email)\n"
            "            if order.status == OrderStatus.CANCELLED:\n",
            "            if order.status == OrderStatus.CANCELLED:\n",
        ),
    ),
    _mutant(
        "commit-after-the-response",
        (16,),
        f"{_PLACE}::test_failed_commit_of_a_status_change_does_not_return_200",
        Edit(_DATABASE, 'Depends(_transaction, scope="function")', "Depends(_transaction)"),
    ),
    _mutant(
        "money-in-binary-fractions",
        (55,),
        "tests/unit/test_order_schemas.py"
        "::test_promise_55_total_is_the_sum_of_the_lines_to_the_cent",
        Edit(
            _SCHEMAS,
            "return self.quantity * self.unit_price",
            "return Decimal(self.quantity * float(self.unit_price))",
        ),
    ),
    _mutant(
        "client-price-is-not-checked",
        (8,),
        "tests/integration/test_prices.py"
        "::test_promise_8_wrong_price_is_409_with_the_current_price",
        Edit(
            _CHECK,
            "refusals = [self._prices.refusal(request.items, quote), _out_of_stock(pieces, stock)]",
            "refusals = [_out_of_stock(pieces, stock)]",
        ),
    ),
]
