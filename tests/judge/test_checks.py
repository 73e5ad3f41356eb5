"""Each check passes for a correct run and fails for a faulty one or an empty history."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.judge.checks import CHECKS, judge
from tests.judge.checks.run_data import RunData
from tests.judge.evidence import Mail, Movement, Order, OutboxRow, Record, State, StockItem
from tests.judge.history import Attempt, History, Kind, Outcome, loaded, outcome_of
from tests.judge.nemesis import Done, Nemesis
from tests.judge.plan import MARKER, Fault, Planned, Surface

PIECES = {"lamp": 2}


class BareTarget:
    """A fleet without fault injection."""

    surface = Surface(killed=(), paused=(), linked=(), places=False, mail=True)


def answered(kind: Kind, status: int, **fields: object) -> Attempt:
    problem = str(fields.pop("problem", ""))
    outcome = outcome_of(status, problem, kind)
    about = {"invoked": 1.0, "ended": 1.2, "caller": "alice", **fields}
    return Attempt(kind, outcome=outcome, status=status, problem=problem, **about)  # type: ignore[arg-type]


def order(order_id: str, status: str, intent: str, email: str = "alice@example.com") -> Order:
    number = f"ORD-20261128-{order_id.upper()}"
    return Order(order_id, number, intent, email, "19.98", status, False, dict(PIECES))


def event(topic: str, event_id: str, key: str, seq: int) -> tuple[OutboxRow, Record]:
    value = f'{{"event_id": "{event_id}"}}'.encode()
    return OutboxRow(seq, event_id, topic, key, True), Record(topic, 0, seq, key, event_id, value)


def correct_run() -> RunData:
    """A confirmed order, a cancelled order, an order that failed, and a restock."""
    placed = [
        answered(
            Kind.PLACE, 201, intent="one", key="k1", pieces=dict(PIECES), order_id="a", body="A"
        ),
        answered(
            Kind.PLACE, 201, intent="one", key="k1", pieces=dict(PIECES), order_id="a", body="A"
        ),
        answered(
            Kind.PLACE, 201, intent="two", key="k2", pieces=dict(PIECES), order_id="b", body="B"
        ),
        answered(Kind.PLACE, 503, intent="three", key="k3", pieces=dict(PIECES)),
    ]
    others = [
        answered(Kind.CANCEL, 200, order_id="b"),
        answered(Kind.SHIP, 200, order_id="a", caller="admin"),
        answered(Kind.RESTOCK, 200, key="r1", pieces={"lamp": 5}, caller="admin"),
        answered(Kind.LIST, 200, owners=["alice@example.com"]),
        answered(Kind.SPY, 403, order_id="a", caller="bob"),
    ]
    events = [
        event("order-placed", "e1", "a", 1),
        event("order-placed", "e2", "b", 2),
        event("order-cancelled", "e3", "b", 3),
        event("ai-notification-ready", "e4", "a", 4),
    ]
    to = "alice@example.com"
    state = State(
        shelves=[StockItem("lamp", 13, 0, 13)],
        movements=[
            Movement("c", "lamp", "create", 10),
            Movement("r1", "lamp", "restock", 5),
            Movement("a", "lamp", "reduce", -2),
            Movement("b", "lamp", "reduce", -2),
            Movement("b", "lamp", "reverse", 2),
        ],
        orders=[
            order("a", "SHIPPED", "one"),
            order("b", "CANCELLED", "two"),
            order("c", "CANCELLED", "three"),
        ],
        outbox=[row for row, _ in events if row.topic != "ai-notification-ready"],
        records=[record for _, record in events],
        mails=[
            Mail(to, "Your order ORD-20261128-A is confirmed"),
            Mail(to, "Your order ORD-20261128-B is confirmed"),
            Mail(to, "Your order ORD-20261128-B was cancelled"),
            Mail(to, "Your order ORD-20261128-A: one thing that goes with it"),
            Mail(to, "Your order ORD-20261128-B: thank you"),
        ],
        reads=[[StockItem("lamp", 10, 0, 10)]],
        unfinished={"c": (1.0, 20.0)},
    )
    return RunData(History([*placed, *others]), state, {"lamp": 10})


def failed_checks(run_data: RunData) -> set[str]:
    return {verdict.name for verdict in judge(run_data) if verdict.violations}


def test_correct_run_passes_every_check() -> None:
    assert [verdict for verdict in judge(correct_run()) if not verdict.passed] == []


def test_empty_history_fails() -> None:
    empty = RunData(History(), State(), {})
    passed = [verdict.name for verdict in judge(empty) if verdict.passed]
    assert passed == ["dead letters are explained"]  # it has no dead letter to explain


FAILING_CASES: dict[str, tuple[set[str], Callable[[RunData], None]]] = {}


def fails(*checks: str) -> Callable[[Callable[[RunData], None]], Callable[[RunData], None]]:
    """Register a corruption of a correct run with the checks that must fail for it."""

    def register(corrupt: Callable[[RunData], None]) -> Callable[[RunData], None]:
        FAILING_CASES[corrupt.__name__] = (set(checks), corrupt)
        return corrupt

    return register


@fails("stock conserved at every read")
def quantity_temporarily_different_from_ledger(run_data: RunData) -> None:
    run_data.state.reads.append([StockItem("lamp", 9, 0, 10)])


@fails("stock conserved at every read")
def more_reserved_than_in_stock(run_data: RunData) -> None:
    run_data.state.reads.append([StockItem("lamp", 10, 11, 10)])


@fails("stock conserved at every read")
def no_samples_taken(run_data: RunData) -> None:
    run_data.state.reads.clear()


@fails("stock conserved in total")
def missing_piece(run_data: RunData) -> None:
    run_data.state.shelves = [StockItem("lamp", 12, 0, 12)]


@fails("stock conserved in total", "no product oversold", "each order has its stock")
def oversold_product(run_data: RunData) -> None:
    run_data.state.orders[0] = replace(run_data.state.orders[0], pieces={"lamp": 16})
    for attempt in run_data.history.attempts[:2]:
        attempt.pieces = {"lamp": 16}


@fails("each order has its stock")
def cancelled_order_with_stock(run_data: RunData) -> None:
    run_data.state.movements.append(Movement("c", "lamp", "reduce", -2))


@fails("each order has its stock")
def stock_returned_twice(run_data: RunData) -> None:
    run_data.state.movements.append(Movement("b", "lamp", "reverse", 2))


@fails("each order has its stock")
def confirmed_order_without_stock(run_data: RunData) -> None:
    run_data.state.movements = [m for m in run_data.state.movements if m.key != "a"]


@fails("each order has its stock")
def stock_taken_for_missing_order(run_data: RunData) -> None:
    run_data.state.movements.append(Movement("ghost", "lamp", "reduce", -1))


@fails("each restock once", "stock conserved in total")
def restock_done_twice(run_data: RunData) -> None:
    run_data.state.movements.append(Movement("r1", "lamp", "restock", 5))


@fails("each restock once", "stock conserved in total")
def acknowledged_restock_lost(run_data: RunData) -> None:
    run_data.state.movements = [m for m in run_data.state.movements if m.kind != "restock"]


@fails("every 201 has an order", "each order has its stock", "stock conserved in total")
def acknowledged_order_missing(run_data: RunData) -> None:
    del run_data.state.orders[0]
    run_data.history.attempts = [a for a in run_data.history.attempts if a.kind is not Kind.SHIP]
    run_data.state.mails = [m for m in run_data.state.mails if m.order_number != "ORD-20261128-A"]


@fails("every 201 has an order")
def order_with_wrong_quantity(run_data: RunData) -> None:
    run_data.history.attempts[2].pieces = {"lamp": 1}


@fails("no unexplained order")
def refused_order_exists(run_data: RunData) -> None:
    for attempt in run_data.history.attempts[:2]:
        attempt.outcome, attempt.status = Outcome.REFUSED, 503


@fails("one order for each key", "every 201 has an order", "stock conserved in total")
def two_orders_for_one_key(run_data: RunData) -> None:
    twin = replace(run_data.state.orders[0], id="d", number="ORD-20261128-D")
    run_data.state.orders.append(twin)
    run_data.history.attempts[1].order_id = "d"
    run_data.history.attempts[1].pieces = {"lamp": 1}
    run_data.state.movements.append(Movement("d", "lamp", "reduce", -2))
    row, record = event("order-placed", "e9", "d", 9)
    run_data.state.outbox.append(row)
    run_data.state.records.append(record)
    run_data.state.mails.append(Mail("alice@example.com", "Your order ORD-20261128-D is confirmed"))
    run_data.state.mails.append(Mail("alice@example.com", "Your order ORD-20261128-D: thank you"))


@fails("one order for each key")
def different_responses_for_one_key(run_data: RunData) -> None:
    run_data.history.attempts[1].body = "another"


@fails("every order in a legal state")
def order_with_unknown_status(run_data: RunData) -> None:
    run_data.state.orders[2] = replace(run_data.state.orders[2], status="LOST")


@fails("every order in a legal state")
def shipped_and_cancelled_order(run_data: RunData) -> None:
    run_data.history.add(answered(Kind.CANCEL, 200, order_id="a"))


@fails("every order in a legal state")
def order_cancelled_without_request(run_data: RunData) -> None:
    run_data.history.attempts = [a for a in run_data.history.attempts if a.kind is not Kind.CANCEL]


@fails("no order unfinished too long")
def order_unfinished_for_a_minute(run_data: RunData) -> None:
    run_data.state.unfinished["c"] = (1.0, 61.0)


@fails("no order unfinished too long")
def unfinished_work(run_data: RunData) -> None:
    run_data.unsettled = "1 events are not published"


@fails("no internal error")
def response_500(run_data: RunData) -> None:
    run_data.history.add(answered(Kind.READ, 500, order_id="a", owners=[]))


@fails("committed orders are on the topic")
def committed_event_missing_on_topic(run_data: RunData) -> None:
    run_data.state.records = [
        record for record in run_data.state.records if record.event_id != "e1"
    ]


@fails("committed orders are on the topic")
def uncommitted_event_on_topic(run_data: RunData) -> None:
    run_data.state.records.append(event("order-placed", "e7", "c", 7)[1])


@fails(
    "committed orders are on the topic", "one confirmation for each order", "one follow-up at most"
)
def confirmed_order_without_event(run_data: RunData) -> None:
    run_data.state.outbox = [row for row in run_data.state.outbox if row.event_id != "e1"]


@fails("events in order for each aggregate")
def events_of_aggregate_out_of_order(run_data: RunData) -> None:
    row, record = event("order-cancelled", "e0", "b", 0)
    run_data.state.outbox.append(row)
    run_data.state.records.append(replace(record, offset=99))


@fails("events in order for each aggregate")
def events_of_aggregate_on_two_partitions(run_data: RunData) -> None:
    run_data.state.records.append(replace(run_data.state.records[0], partition=1))


@fails("dead letters are explained")
def invalid_message_not_dead_lettered(run_data: RunData) -> None:
    run_data.poison = [b"not json"]


@fails("dead letters are explained")
def valid_event_dead_lettered(run_data: RunData) -> None:
    run_data.state.records.append(replace(run_data.state.records[0], topic="order-placed.dlq"))


@fails("one confirmation for each order")
def refused_mail_neither_sent_nor_dead_lettered(run_data: RunData) -> None:
    refuse_first_mail(run_data)
    run_data.state.records.pop()


@fails("one confirmation for each order", "dead letters are explained")
def other_mail_dead_lettered_after_refusal(run_data: RunData) -> None:
    refuse_first_mail(run_data)
    run_data.state.records.append(replace(run_data.state.records[1], topic="order-placed.dlq"))
    del run_data.state.mails[0]


@fails("one confirmation for each order", "dead letters are explained")
def dead_letter_without_content_refusal(run_data: RunData) -> None:
    refuse_first_mail(run_data)
    run_data.refuses_content = False


@fails("one confirmation for each order")
def order_without_mail(run_data: RunData) -> None:
    del run_data.state.mails[0]


@fails("one confirmation for each order")
def duplicate_mail_without_fault(run_data: RunData) -> None:
    run_data.state.mails.append(run_data.state.mails[0])


@fails("one confirmation for each order")
def mail_to_wrong_recipient(run_data: RunData) -> None:
    run_data.state.mails[0] = replace(run_data.state.mails[0], recipient="bob@example.com")


@fails("one cancellation mail each")
def cancellation_without_mail(run_data: RunData) -> None:
    del run_data.state.mails[2]


@fails("one follow-up at most")
def order_without_follow_up(run_data: RunData) -> None:
    del run_data.state.mails[3]


@fails("no access to other customers' orders")
def list_with_order_of_other_customer(run_data: RunData) -> None:
    run_data.history.add(answered(Kind.LIST, 200, owners=["alice@example.com", "bob@example.com"]))


@fails("no access to other customers' orders")
def foreign_order_read(run_data: RunData) -> None:
    run_data.history.add(answered(Kind.SPY, 200, order_id="a", caller="bob"))


@fails("no valid token refused")
def valid_token_refused(run_data: RunData) -> None:
    run_data.history.add(answered(Kind.LIST, 401))


@pytest.mark.parametrize("name", FAILING_CASES)
def test_faulty_run_fails_expected_checks_only(name: str) -> None:
    expected, corrupt = FAILING_CASES[name]
    run_data = correct_run()
    corrupt(run_data)
    assert failed_checks(run_data) == expected


def test_every_check_has_a_failing_case() -> None:
    assert set.union(*(checks for checks, _ in FAILING_CASES.values())) == set(CHECKS)


def test_order_with_unknown_outcome_may_exist() -> None:
    run_data = correct_run()
    for attempt in run_data.history.attempts[:2]:
        attempt.outcome, attempt.status = Outcome.UNKNOWN, 0
    assert failed_checks(run_data) == set()


def test_fault_explains_duplicate_mail() -> None:
    run_data = correct_run()
    run_data.state.mails.append(run_data.state.mails[0])
    run_data.smtp_windows = 1
    assert failed_checks(run_data) == set()
    run_data.state.mails.append(run_data.state.mails[0])
    assert failed_checks(run_data) == {"one confirmation for each order"}


def refuse_first_mail(run_data: RunData) -> None:
    """Dead-letter the confirmation of the first order because of its content."""
    run_data.refuses_content = True
    marked = f"one {MARKER}"
    run_data.state.orders[0] = replace(run_data.state.orders[0], intent=marked)
    for attempt in run_data.history.attempts[:2]:
        attempt.intent = marked
    run_data.state.records.append(replace(run_data.state.records[0], topic="order-placed.dlq"))
    del run_data.state.mails[0]


def test_mail_refused_for_content_may_be_dead_letter() -> None:
    run_data = correct_run()
    refuse_first_mail(run_data)
    assert failed_checks(run_data) == set()


def test_mail_fault_explains_duplicate_mail_only_with_lost_reply() -> None:
    for fault, windows in (("quota", 0), ("greylisting", 0), ("lost-reply", 2)):
        planned = Planned(1.0, Fault.MAIL, "mailbox", 5.0, fault)
        nemesis = Nemesis(BareTarget(), lambda: 0.0, [Done(planned, 1.0, 6.0, hit=2)])  # type: ignore[arg-type]
        assert nemesis.smtp_windows == windows


def test_fault_extends_allowed_time_of_unfinished_order() -> None:
    run_data = correct_run()
    run_data.state.unfinished["c"] = (1.0, 61.0)
    pause = Planned(5.0, Fault.PAUSE, "inventory-service", 40.0)
    run_data.faults = [Done(pause, 5.0, 45.0)]
    assert failed_checks(run_data) == set()
    elsewhere = Planned(5.0, Fault.PAUSE, "ai-service", 40.0)
    run_data.faults = [Done(elsewhere, 5.0, 45.0)]
    assert failed_checks(run_data) == {"no order unfinished too long"}


@pytest.mark.parametrize(
    ("status", "problem", "kind", "outcome"),
    [
        (201, "", Kind.PLACE, Outcome.OK),
        (0, "", Kind.PLACE, Outcome.UNKNOWN),
        (502, "", Kind.PLACE, Outcome.UNKNOWN),
        (504, "", Kind.PLACE, Outcome.UNKNOWN),
        (500, "/problems/outcome-unknown", Kind.PLACE, Outcome.UNKNOWN),
        (503, "", Kind.PLACE, Outcome.REFUSED),
        (503, "", Kind.RESTOCK, Outcome.UNKNOWN),
        (400, "", Kind.PLACE, Outcome.REFUSED),
        (409, "/problems/request-in-progress", Kind.PLACE, Outcome.REFUSED),
    ],
)
def test_outcome_of_response(status: int, problem: str, kind: Kind, outcome: Outcome) -> None:
    assert outcome_of(status, problem, kind) is outcome


def test_history_is_loaded_from_file(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    history = History(file=file)
    for attempt in correct_run().history.attempts:
        history.add(attempt)
    assert loaded(file).attempts == history.attempts


def test_state_from_before_run_is_ignored() -> None:
    run_data, before = correct_run(), correct_run().state
    run_data.state.orders.append(order("z", "CONFIRMED", "another's"))
    before.orders = [run_data.state.orders[-1]]
    row, record = event("order-placed", "e0", "z", 50)
    run_data.state.outbox.append(row)
    run_data.state.records += [record, replace(record, offset=51)]
    before.outbox, before.records = [row], [record]
    run_data.state.movements.append(Movement("z", "lamp", "reduce", -2))
    before.movements = [run_data.state.movements[-1]]
    run_data.state.mails.append(Mail("bob@example.com", "Your order ORD-20261128-Z is confirmed"))
    before.mails = [run_data.state.mails[-1]]
    before.shelves = [StockItem("vase", 7, 0, 7)]
    run_data.state.shelves.append(StockItem("vase", 7, 0, 7))
    assert failed_checks(run_data) != set()
    run_data.state.exclude_before(before)
    assert failed_checks(run_data) == set()
    assert [shelf.product for shelf in run_data.state.shelves] == ["lamp"]
