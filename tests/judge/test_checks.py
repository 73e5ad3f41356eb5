"""Each check passes a good trial and fails a bad one. A history that shows nothing fails too."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.judge.checks import CHECKS, judge
from tests.judge.checks.trial import Trial
from tests.judge.evidence import Mail, Movement, Order, OutboxRow, Record, Shelf, State
from tests.judge.history import Attempt, History, Kind, Outcome, loaded, outcome_of
from tests.judge.nemesis import Done, Nemesis
from tests.judge.plan import MARKER, Fault, Planned, Surface

PIECES = {"lamp": 2}


class BareTarget:
    """A fleet of which nothing can be broken."""

    surface = Surface(killed=(), paused=(), linked=(), places=False, mail=True)


def answered(kind: Kind, status: int, **fields: object) -> Attempt:
    problem = str(fields.pop("problem", ""))
    outcome = outcome_of(status, problem, kind)
    about = {"invoked": 1.0, "ended": 1.2, "caller": "alice", **fields}
    return Attempt(kind, outcome=outcome, status=status, problem=problem, **about)  # type: ignore[arg-type]


def order(order_id: str, status: str, wish: str, email: str = "alice@example.com") -> Order:
    number = f"ORD-20261128-{order_id.upper()}"
    return Order(order_id, number, wish, email, "19.98", status, False, dict(PIECES))


def event(topic: str, event_id: str, key: str, seq: int) -> tuple[OutboxRow, Record]:
    value = f'{{"event_id": "{event_id}"}}'.encode()
    return OutboxRow(seq, event_id, topic, key, True), Record(topic, 0, seq, key, event_id, value)


def good() -> Trial:
    """One order stands, one was cancelled after it had stood, one was given up; a restock."""
    placed = [
        answered(
            Kind.PLACE, 201, wish="one", key="k1", pieces=dict(PIECES), order_id="a", body="A"
        ),
        answered(
            Kind.PLACE, 201, wish="one", key="k1", pieces=dict(PIECES), order_id="a", body="A"
        ),
        answered(
            Kind.PLACE, 201, wish="two", key="k2", pieces=dict(PIECES), order_id="b", body="B"
        ),
        answered(Kind.PLACE, 503, wish="three", key="k3", pieces=dict(PIECES)),
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
        shelves=[Shelf("lamp", 13, 0, 13)],
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
        reads=[[Shelf("lamp", 10, 0, 10)]],
        unfinished={"c": (1.0, 20.0)},
    )
    return Trial(History([*placed, *others]), state, {"lamp": 10})


def wrong(trial: Trial) -> set[str]:
    return {verdict.name for verdict in judge(trial) if verdict.violations}


def test_a_good_trial_passes_every_check() -> None:
    assert [verdict for verdict in judge(good()) if not verdict.passed] == []


def test_an_empty_history_is_no_pass() -> None:
    empty = Trial(History(), State(), {})
    passed = [verdict.name for verdict in judge(empty) if verdict.passed]
    assert passed == ["dead letters are explained"]  # there is none to explain


BREAKS: dict[str, tuple[set[str], Callable[[Trial], None]]] = {}


def breaks(*checks: str) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """What a trial that is spoilt so must be found guilty of, and of nothing else."""

    def register(spoil: Callable[[Trial], None]) -> Callable[[Trial], None]:
        BREAKS[spoil.__name__] = (set(checks), spoil)
        return spoil

    return register


@breaks("stock conserved at every read")
def a_quantity_that_was_not_its_ledgers_sum_for_a_moment(trial: Trial) -> None:
    trial.state.reads.append([Shelf("lamp", 9, 0, 10)])


@breaks("stock conserved at every read")
def more_reserved_than_there_is(trial: Trial) -> None:
    trial.state.reads.append([Shelf("lamp", 10, 11, 10)])


@breaks("stock conserved at every read")
def a_watch_that_never_saw_anything(trial: Trial) -> None:
    trial.state.reads.clear()


@breaks("stock conserved over all")
def a_piece_that_vanished(trial: Trial) -> None:
    trial.state.shelves = [Shelf("lamp", 12, 0, 12)]


@breaks("stock conserved over all", "none oversold", "each order has its stock")
def more_sold_than_there_was(trial: Trial) -> None:
    trial.state.orders[0] = replace(trial.state.orders[0], pieces={"lamp": 16})
    for attempt in trial.history.attempts[:2]:
        attempt.pieces = {"lamp": 16}


@breaks("each order has its stock")
def a_cancelled_order_that_kept_its_stock(trial: Trial) -> None:
    trial.state.movements.append(Movement("c", "lamp", "reduce", -2))


@breaks("each order has its stock")
def stock_that_was_given_back_twice(trial: Trial) -> None:
    trial.state.movements.append(Movement("b", "lamp", "reverse", 2))


@breaks("each order has its stock")
def a_standing_order_without_stock(trial: Trial) -> None:
    trial.state.movements = [m for m in trial.state.movements if m.key != "a"]


@breaks("each order has its stock")
def stock_taken_for_an_order_that_is_not_there(trial: Trial) -> None:
    trial.state.movements.append(Movement("ghost", "lamp", "reduce", -1))


@breaks("each restock once", "stock conserved over all")
def a_restock_that_was_done_twice(trial: Trial) -> None:
    trial.state.movements.append(Movement("r1", "lamp", "restock", 5))


@breaks("each restock once", "stock conserved over all")
def a_restock_that_was_acknowledged_and_lost(trial: Trial) -> None:
    trial.state.movements = [m for m in trial.state.movements if m.kind != "restock"]


@breaks("every 201 stands", "each order has its stock", "stock conserved over all")
def an_acknowledged_order_that_is_not_there(trial: Trial) -> None:
    del trial.state.orders[0]
    trial.history.attempts = [a for a in trial.history.attempts if a.kind is not Kind.SHIP]
    trial.state.mails = [m for m in trial.state.mails if m.order_number != "ORD-20261128-A"]


@breaks("every 201 stands")
def an_order_with_other_pieces_than_it_was_asked_with(trial: Trial) -> None:
    trial.history.attempts[2].pieces = {"lamp": 1}


@breaks("no order from nowhere")
def an_order_that_stands_though_it_was_refused(trial: Trial) -> None:
    for attempt in trial.history.attempts[:2]:
        attempt.outcome, attempt.status = Outcome.REFUSED, 503


@breaks("one order for each key", "every 201 stands", "stock conserved over all")
def two_orders_for_one_key(trial: Trial) -> None:
    twin = replace(trial.state.orders[0], id="d", number="ORD-20261128-D")
    trial.state.orders.append(twin)
    trial.history.attempts[1].order_id = "d"
    trial.history.attempts[1].pieces = {"lamp": 1}
    trial.state.movements.append(Movement("d", "lamp", "reduce", -2))
    row, record = event("order-placed", "e9", "d", 9)
    trial.state.outbox.append(row)
    trial.state.records.append(record)
    trial.state.mails.append(Mail("alice@example.com", "Your order ORD-20261128-D is confirmed"))
    trial.state.mails.append(Mail("alice@example.com", "Your order ORD-20261128-D: thank you"))


@breaks("one order for each key")
def a_key_that_was_answered_differently(trial: Trial) -> None:
    trial.history.attempts[1].body = "another"


@breaks("every order in a legal state")
def an_order_in_no_state_that_there_is(trial: Trial) -> None:
    trial.state.orders[2] = replace(trial.state.orders[2], status="LOST")


@breaks("every order in a legal state")
def an_order_shipped_and_cancelled(trial: Trial) -> None:
    trial.history.add(answered(Kind.CANCEL, 200, order_id="a"))


@breaks("every order in a legal state")
def an_order_cancelled_though_nobody_asked(trial: Trial) -> None:
    trial.history.attempts = [a for a in trial.history.attempts if a.kind is not Kind.CANCEL]


@breaks("none PENDING too long")
def an_order_left_half_done_for_a_minute(trial: Trial) -> None:
    trial.state.unfinished["c"] = (1.0, 61.0)


@breaks("none PENDING too long")
def work_that_was_never_finished(trial: Trial) -> None:
    trial.unsettled = "1 events are not published"


@breaks("no error of ours")
def an_answer_of_500(trial: Trial) -> None:
    trial.history.add(answered(Kind.READ, 500, order_id="a", owners=[]))


@breaks("committed orders are on the topic")
def a_committed_event_that_is_not_on_its_topic(trial: Trial) -> None:
    trial.state.records = [record for record in trial.state.records if record.event_id != "e1"]


@breaks("committed orders are on the topic")
def an_event_of_something_that_was_never_committed(trial: Trial) -> None:
    trial.state.records.append(event("order-placed", "e7", "c", 7)[1])


@breaks(
    "committed orders are on the topic", "one confirmation for each order", "one follow-up at most"
)
def an_order_that_was_confirmed_without_its_event(trial: Trial) -> None:
    trial.state.outbox = [row for row in trial.state.outbox if row.event_id != "e1"]


@breaks("events in order for each aggregate")
def events_of_one_aggregate_in_the_wrong_order(trial: Trial) -> None:
    row, record = event("order-cancelled", "e0", "b", 0)
    trial.state.outbox.append(row)
    trial.state.records.append(replace(record, offset=99))


@breaks("events in order for each aggregate")
def events_of_one_aggregate_on_two_partitions(trial: Trial) -> None:
    trial.state.records.append(replace(trial.state.records[0], partition=1))


@breaks("dead letters are explained")
def poison_that_is_no_dead_letter(trial: Trial) -> None:
    trial.poison = [b"not json"]


@breaks("dead letters are explained")
def a_good_event_among_the_dead_letters(trial: Trial) -> None:
    trial.state.records.append(replace(trial.state.records[0], topic="order-placed.dlq"))


@breaks("one confirmation for each order")
def a_mail_with_the_marker_that_is_neither_there_nor_a_dead_letter(trial: Trial) -> None:
    refuse_the_first_mail(trial)
    trial.state.records.pop()


@breaks("one confirmation for each order", "dead letters are explained")
def a_refusal_of_one_mail_that_made_anothers_a_dead_letter(trial: Trial) -> None:
    refuse_the_first_mail(trial)
    trial.state.records.append(replace(trial.state.records[1], topic="order-placed.dlq"))
    del trial.state.mails[0]


@breaks("one confirmation for each order", "dead letters are explained")
def a_dead_letter_though_the_mail_server_refused_no_content(trial: Trial) -> None:
    refuse_the_first_mail(trial)
    trial.refuses_content = False


@breaks("one confirmation for each order")
def an_order_without_its_mail(trial: Trial) -> None:
    del trial.state.mails[0]


@breaks("one confirmation for each order")
def an_order_with_two_mails_and_no_fault_that_explains_it(trial: Trial) -> None:
    trial.state.mails.append(trial.state.mails[0])


@breaks("one confirmation for each order")
def a_mail_to_somebody_else(trial: Trial) -> None:
    trial.state.mails[0] = replace(trial.state.mails[0], recipient="bob@example.com")


@breaks("one cancellation mail each")
def a_cancellation_nobody_hears_of(trial: Trial) -> None:
    del trial.state.mails[2]


@breaks("one follow-up at most")
def an_order_without_its_follow_up(trial: Trial) -> None:
    del trial.state.mails[3]


@breaks("nobody saw another's order")
def a_list_with_anothers_order(trial: Trial) -> None:
    trial.history.add(answered(Kind.LIST, 200, owners=["alice@example.com", "bob@example.com"]))


@breaks("nobody saw another's order")
def a_spy_who_saw_something(trial: Trial) -> None:
    trial.history.add(answered(Kind.SPY, 200, order_id="a", caller="bob"))


@breaks("no valid token refused")
def a_good_token_that_was_refused(trial: Trial) -> None:
    trial.history.add(answered(Kind.LIST, 401))


@pytest.mark.parametrize("name", BREAKS)
def test_a_bad_trial_is_found_guilty_of(name: str) -> None:
    expected, spoil = BREAKS[name]
    trial = good()
    spoil(trial)
    assert wrong(trial) == expected


def test_every_check_has_a_history_that_it_fails() -> None:
    assert set.union(*(checks for checks, _ in BREAKS.values())) == set(CHECKS)


def test_what_nobody_heard_the_end_of_may_stand() -> None:
    trial = good()
    for attempt in trial.history.attempts[:2]:
        attempt.outcome, attempt.status = Outcome.UNKNOWN, 0
    assert wrong(trial) == set()


def test_a_fault_explains_a_doubled_mail() -> None:
    trial = good()
    trial.state.mails.append(trial.state.mails[0])
    trial.smtp_windows = 1
    assert wrong(trial) == set()
    trial.state.mails.append(trial.state.mails[0])
    assert wrong(trial) == {"one confirmation for each order"}


def refuse_the_first_mail(trial: Trial) -> None:
    """Make the confirmation of the first order a dead letter, for its content."""
    trial.refuses_content = True
    marked = f"one {MARKER}"
    trial.state.orders[0] = replace(trial.state.orders[0], wish=marked)
    for attempt in trial.history.attempts[:2]:
        attempt.wish = marked
    trial.state.records.append(replace(trial.state.records[0], topic="order-placed.dlq"))
    del trial.state.mails[0]


def test_a_mail_refused_for_its_content_may_be_a_dead_letter() -> None:
    trial = good()
    refuse_the_first_mail(trial)
    assert wrong(trial) == set()


def test_mail_faults_explain_a_doubled_mail_only_where_a_reply_is_lost() -> None:
    for fault, windows in (("quota", 0), ("greylisting", 0), ("lost-reply", 2)):
        planned = Planned(1.0, Fault.MAIL, "mailbox", 5.0, fault)
        nemesis = Nemesis(BareTarget(), lambda: 0.0, [Done(planned, 1.0, 6.0, hit=2)])  # type: ignore[arg-type]
        assert nemesis.smtp_windows == windows


def test_a_fault_explains_why_an_order_was_half_done_for_longer() -> None:
    trial = good()
    trial.state.unfinished["c"] = (1.0, 61.0)
    pause = Planned(5.0, Fault.PAUSE, "inventory-service", 40.0)
    trial.faults = [Done(pause, 5.0, 45.0)]
    assert wrong(trial) == set()
    elsewhere = Planned(5.0, Fault.PAUSE, "ai-service", 40.0)
    trial.faults = [Done(elsewhere, 5.0, 45.0)]
    assert wrong(trial) == {"none PENDING too long"}


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
def test_what_an_answer_means(status: int, problem: str, kind: Kind, outcome: Outcome) -> None:
    assert outcome_of(status, problem, kind) is outcome


def test_a_history_comes_back_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    history = History(file=file)
    for attempt in good().history.attempts:
        history.add(attempt)
    assert loaded(file).attempts == history.attempts


def test_what_was_there_before_a_trial_is_none_of_its_business() -> None:
    trial, before = good(), good().state
    trial.state.orders.append(order("z", "CONFIRMED", "another's"))
    before.orders = [trial.state.orders[-1]]
    row, record = event("order-placed", "e0", "z", 50)
    trial.state.outbox.append(row)
    trial.state.records += [record, replace(record, offset=51)]
    before.outbox, before.records = [row], [record]
    trial.state.movements.append(Movement("z", "lamp", "reduce", -2))
    before.movements = [trial.state.movements[-1]]
    trial.state.mails.append(Mail("bob@example.com", "Your order ORD-20261128-Z is confirmed"))
    before.mails = [trial.state.mails[-1]]
    before.shelves = [Shelf("vase", 7, 0, 7)]
    trial.state.shelves.append(Shelf("vase", 7, 0, 7))
    assert wrong(trial) != set()
    trial.state.since(before)
    assert wrong(trial) == set()
    assert [shelf.product for shelf in trial.state.shelves] == ["lamp"]
