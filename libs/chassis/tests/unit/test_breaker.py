"""The circuit breaker with a fake clock."""

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
    """A breaker with helper calls for tests."""

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


def test_circuit_opens_after_five_consecutive_failures(circuit: Circuit) -> None:
    """Promise 34."""
    circuit.fail(4)
    assert circuit.breaker.state == "closed"
    circuit.fail()
    assert circuit.breaker.state == "open"


def test_success_resets_the_count_of_consecutive_failures(circuit: Circuit) -> None:
    circuit.fail(4)
    circuit.succeed()
    circuit.fail(4)
    assert circuit.breaker.state == "closed"


def test_circuit_opens_at_half_failures_of_twenty_calls(
    circuit: Circuit,
) -> None:
    """Promise 34: a rate of 66 % in the pattern F, F, S never opens pybreaker alone."""
    for _ in range(6):
        circuit.fail(2)
        circuit.succeed()
    assert circuit.breaker.state == "closed"  # 18 calls are too few
    circuit.fail(2)
    assert circuit.breaker.state == "open"


def test_failure_rate_below_half_keeps_the_circuit_closed(circuit: Circuit) -> None:
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


def test_open_circuit_refuses_at_once_with_retry_after(circuit: Circuit) -> None:
    """Promise 34: an open circuit refuses in less than 5 ms."""
    circuit.open()
    circuit.clock.now += 2
    began = time.perf_counter()
    with pytest.raises(CircuitOpen) as refused, circuit.breaker.guard():
        pytest.fail("entered")
    assert time.perf_counter() - began < 0.005
    assert refused.value.retry_after == pytest.approx(3)


async def test_half_open_circuit_admits_one_of_a_hundred_callers(circuit: Circuit) -> None:
    """Promise 34: pybreaker alone admits ten of ten callers."""
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


def test_failed_probe_opens_the_circuit_for_the_whole_reset_time(circuit: Circuit) -> None:
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


def test_circuit_opened_by_another_failure_stays_open_for_the_whole_reset_time(
    circuit: Circuit,
) -> None:
    circuit.fail(4, Refused)
    circuit.fail()
    circuit.clock.now += 4.9
    with pytest.raises(CircuitOpen), circuit.breaker.guard():
        pytest.fail("entered")


async def test_cancelled_probe_does_not_close_the_circuit_and_admits_the_next(
    circuit: Circuit,
) -> None:
    """Promise 35: pybreaker alone closes the circuit."""
    circuit.half_open()
    await circuit.cancel()
    assert circuit.breaker.state == "half-open"
    circuit.fail()
    assert circuit.breaker.state == "open"


async def test_hanging_probe_fails_at_the_deadline(circuit: Circuit) -> None:
    circuit.half_open()
    with pytest.raises(TimeoutError), circuit.breaker.guard():
        async with Deadline.after(0.01).enforce():
            await asyncio.Event().wait()
    assert circuit.breaker.state == "open"


def test_any_response_to_the_probe_closes_the_circuit(circuit: Circuit) -> None:
    circuit.half_open()
    circuit.refuse()
    assert circuit.breaker.state == "closed"


async def test_thousand_4xx_and_cancellations_leave_the_circuit_closed(circuit: Circuit) -> None:
    """Promise 35."""
    for _ in range(1000):
        circuit.refuse()
        await circuit.cancel()
    assert circuit.breaker.state == "closed"


async def test_4xx_and_cancellations_do_not_reset_the_count_of_failures(circuit: Circuit) -> None:
    circuit.fail(4)
    circuit.refuse()
    await circuit.cancel()
    circuit.fail()
    assert circuit.breaker.state == "open"


def test_error_not_caused_by_the_peer_does_not_count(circuit: Circuit) -> None:
    for _ in range(50):
        with pytest.raises(KeyError), circuit.breaker.guard():
            raise KeyError
    assert circuit.breaker.state == "closed"


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE])
def test_outcome_of_a_call_from_before_a_state_change_is_ignored(
    circuit: Circuit, outcome: Outcome
) -> None:
    with circuit.breaker.guard() as old:
        circuit.half_open()
        with circuit.breaker.guard() as probe:
            probe.outcome = Outcome.IGNORED
        assert circuit.breaker.state == "half-open"
        old.outcome = outcome
    assert circuit.breaker.state == "half-open"


def test_closing_the_circuit_clears_the_window(circuit: Circuit) -> None:
    for _ in range(6):
        circuit.fail(2)
        circuit.succeed()
    circuit.fail(2)
    circuit.clock.now += 5
    circuit.succeed()
    circuit.fail(4)
    assert circuit.breaker.state == "closed"


def test_state_and_refusals_are_metrics_of_the_given_registry(circuit: Circuit) -> None:
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
