"""Promise 61: one trial with a fixed seed, a minute long, on a fleet of its own."""

from tests.judge.report import summary
from tests.judge.run import Options, run
from tests.judge.target import EmbeddedFleet

SEED = 7


async def test_promise_61_a_minute_of_faults_leaves_everything_right() -> None:
    target = EmbeddedFleet(SEED)
    try:
        await target.up()
        result = await run(target, Options(SEED), lambda *_: None)
    finally:
        await target.remove()
    print(summary(result))
    assert result.passed, summary(result)
    assert sum(done.hit for done in result.trial.faults) >= 10
