"""Promise 61: one run of a minute with a fixed seed, on its own fleet."""

from tests.judge.report import summary
from tests.judge.run import Options, run
from tests.judge.target import EmbeddedFleet

SEED = 7


async def test_promise_61_one_minute_of_faults_leaves_correct_state() -> None:
    target = EmbeddedFleet(SEED)
    try:
        await target.up()
        result = await run(target, Options(SEED), lambda *_: None)
    finally:
        await target.remove()
    print(summary(result))
    assert result.passed, summary(result)
    assert sum(done.hit for done in result.run_data.faults) >= 10
