"""The circuit breaker, on a clock of the test's own."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from chassis.http_client.breaker import AsyncBreaker, BreakerPolicy, CircuitOpen, Outcome
from chassis.http_client.deadline import Deadline


class Down(Exception):
    pass


class Refused(Down):
    pass


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Circuit:
    """A breaker with the calls that tests make through it."""

    def __init__(self, policy: BreakerPolicy | None = None, target: str = "peer") -> None:
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.breaker = AsyncBreaker(
            target,
            policy or BreakerPolicy(),
            self.registry,
            is_failure=lambda error: isinstance(error, Down | TimeoutError),
            is_refused=lambda error: isinstance(error, Refused),
            clock=self.clock,
        )

    def succeed(self) -> None:
        with self.breaker.guard():
            pass

    def refuse(self) -> None:
        with self.breaker.guard() as guard:
            guard.outcome = Outcome.REJECTED

    def fail(self, times: int = 1, error: type[Down] = Down) -> None:
        for _ in range(times):
            with pytest.raises(error), self.breaker.guard():
                raise error

    def open(self) -> None:
        self.fail(5)
        assert self.breaker.state == "open"

    def half_open(self) -> None:
        self.open()
        self.clock.now += 5

    async def hang(self) -> None:
        with self.breaker.guard():
            await asyncio.Event().wait()

    async def cancel(self) -> None:
        task = asyncio.create_task(self.hang())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def circuit() -> Circuit:
    return Circuit()


def test_it_opens_after_five_failures_in_a_row_each_with_its_own_error(circuit: Circuit) -> None:
    """Promise 34."""
    circuit.fail(4)
    assert circuit.breaker.state == "closed"
    circuit.fail()
    assert circuit.breaker.state == "open"


def test_a_success_interrupts_a_row_of_failures(circuit: Circuit) -> None:
    circuit.fail(4)
    circuit.succeed()
    circuit.fail(4)
    assert circuit.breaker.state == "closed"


def test_it_opens_when_half_of_twenty_calls_fail_though_never_five_in_a_row(
    circuit: Circuit,
) -> None:
    """Promise 34: a rate of 66 % in the pattern F, F, S never opens pybreaker alone."""
    for _ in range(6):
        circuit.fail(2)
        circuit.succeed()
    assert circuit.breaker.state == "closed"  # 18 calls say nothing yet
    circuit.fail(2)
    assert circuit.breaker.state == "open"


def test_a_rate_below_one_half_keeps_it_closed(circuit: Circuit) -> None:
    for _ in range(100):
        circuit.fail()
        circuit.succeed()
        circuit.succeed()
    assert circuit.breaker.state == "closed"


def test_failures_older_than_the_window_do_not_count(circuit: Circuit) -> None:
    for _ in range(6):
        circuit.fail(2)
        circuit.succeed()
    circuit.clock.now += 10
    circuit.succeed()
    circuit.fail(2)
    assert circuit.breaker.state == "closed"


def test_while_open_it_refuses_at_once_and_says_for_how_long(circuit: Circuit) -> None:
    """Promise 34: the open state answers in less than 5 ms."""
    circuit.open()
    circuit.clock.now += 2
    began = time.perf_counter()
    with pytest.raises(CircuitOpen) as refused, circuit.breaker.guard():
        pytest.fail("entered")
    assert time.perf_counter() - began < 0.005
    assert refused.value.retry_after == pytest.approx(3)


async def test_of_a_hundred_callers_at_half_open_one_is_the_probe(circuit: Circuit) -> None:
    """Promise 34: pybreaker alone lets ten of ten through."""
    circuit.half_open()
    entered, refused, answer = 0, 0, asyncio.Event()

    async def call() -> None:
        nonlocal entered, refused
        try:
            with circuit.breaker.guard():
                entered += 1
                await answer.wait()
        except CircuitOpen:
            refused += 1

    callers = [asyncio.create_task(call()) for _ in range(100)]
    await asyncio.sleep(0)
    assert (entered, refused) == (1, 99)
    assert circuit.breaker.state == "half-open"
    answer.set()
    await asyncio.gather(*callers)
    assert circuit.breaker.state == "closed"


def test_a_probe_that_fails_opens_it_for_the_whole_time_again(circuit: Circuit) -> None:
    circuit.half_open()
    circuit.fail()
    circuit.clock.now += 4.9
    with pytest.raises(CircuitOpen), circuit.breaker.guard():
        pass
    circuit.clock.now += 0.1
    circuit.succeed()
    assert circuit.breaker.state == "closed"


def test_circuit_opened_by_refused_connections_probes_after_half_a_second(
    circuit: Circuit,
) -> None:
    circuit.fail(5, Refused)
    with pytest.raises(CircuitOpen) as refused, circuit.breaker.guard():
        pytest.fail("entered")
    assert refused.value.retry_after == pytest.approx(0.5)
    circuit.clock.now += 0.5
    circuit.fail(1, Refused)  # the probe
    with pytest.raises(CircuitOpen), circuit.breaker.guard():
        pytest.fail("entered")
    circuit.clock.now += 0.5
    circuit.succeed()
    assert circuit.breaker.state == "closed"


def test_circuit_whose_last_failure_is_no_refused_connection_stays_open_for_whole_time(
    circuit: Circuit,
) -> None:
    circuit.fail(4, Refused)
    circuit.fail()
    circuit.clock.now += 4.9
    with pytest.raises(CircuitOpen), circuit.breaker.guard():
        pytest.fail("entered")


async def test_a_cancelled_probe_closes_nothing_and_lets_the_next_one_go(circuit: Circuit) -> None:
    """Promise 35: plain pybreaker closes on it."""
    circuit.half_open()
    await circuit.cancel()
    assert circuit.breaker.state == "half-open"
    circuit.fail()
    assert circuit.breaker.state == "open"


async def test_a_probe_that_hangs_fails_at_the_deadline_inside_the_guard(circuit: Circuit) -> None:
    circuit.half_open()
    with pytest.raises(TimeoutError), circuit.breaker.guard():
        async with Deadline.after(0.01).enforce():
            await asyncio.Event().wait()
    assert circuit.breaker.state == "open"


def test_any_answer_to_the_probe_shows_that_the_peer_is_back(circuit: Circuit) -> None:
    circuit.half_open()
    circuit.refuse()
    assert circuit.breaker.state == "closed"


async def test_a_thousand_refusals_and_a_thousand_cancels_leave_it_closed(circuit: Circuit) -> None:
    """Promise 35."""
    for _ in range(1000):
        circuit.refuse()
        await circuit.cancel()
    assert circuit.breaker.state == "closed"


async def test_refusals_and_cancels_do_not_interrupt_a_row_of_failures(circuit: Circuit) -> None:
    circuit.fail(4)
    circuit.refuse()
    await circuit.cancel()
    circuit.fail()
    assert circuit.breaker.state == "open"


def test_an_error_that_is_not_the_peers_does_not_count(circuit: Circuit) -> None:
    for _ in range(50):
        with pytest.raises(KeyError), circuit.breaker.guard():
            raise KeyError
    assert circuit.breaker.state == "closed"


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE])
def test_a_call_from_before_the_circuit_moved_has_no_outcome(
    circuit: Circuit, outcome: Outcome
) -> None:
    with circuit.breaker.guard() as old:
        circuit.half_open()
        with circuit.breaker.guard() as probe:
            probe.outcome = Outcome.IGNORED
        assert circuit.breaker.state == "half-open"
        old.outcome = outcome
    assert circuit.breaker.state == "half-open"


def test_the_window_begins_anew_when_it_closes(circuit: Circuit) -> None:
    for _ in range(6):
        circuit.fail(2)
        circuit.succeed()
    circuit.fail(2)
    circuit.clock.now += 5
    circuit.succeed()
    circuit.fail(4)
    assert circuit.breaker.state == "closed"


def test_state_and_refusals_are_metrics_of_the_registry_that_was_given(circuit: Circuit) -> None:
    def value(name: str) -> float | None:
        return circuit.registry.get_sample_value(name, {"target": "peer"})

    AsyncBreaker("another", BreakerPolicy(), circuit.registry)
    assert value("circuit_state") == 0
    assert value("circuit_refused_total") == 0
    circuit.open()
    assert value("circuit_state") == 2
    with pytest.raises(CircuitOpen), circuit.breaker.guard():
        pass
    assert value("circuit_refused_total") == 1
    circuit.clock.now += 5
    with circuit.breaker.guard():
        assert value("circuit_state") == 1
    assert value("circuit_state") == 0
    assert REGISTRY.get_sample_value("circuit_state", {"target": "peer"}) is None
