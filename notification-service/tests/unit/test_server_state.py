"""ServerState with a fake clock: how long mails wait after refusals."""

import pytest

from app.clients.server_state import ServerState
from app.errors import MailServerDown, MailServerRefused

ALICE, BOB = "alice@example.com", "bob@example.com"


class Scene:
    def __init__(self) -> None:
        self.now = 1000.0
        self.state = ServerState(lambda: self.now)

    def wait(self) -> float:
        """Let the current wait pass; return its seconds."""
        began = self.now
        while not self.state.may_try:
            self.now += 0.01
        return self.now - began


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_open_state_lets_every_mail_through(scene: Scene) -> None:
    assert scene.state.seconds_until_try(ALICE) == 0
    assert scene.state.reason == ""


def test_refusals_of_different_recipients_lengthen_the_wait_up_to_30_seconds(scene: Scene) -> None:
    longest = []
    for _ in range(50):
        waits = []
        for number in range(8):
            scene.state.refused("quota", f"customer-{number}@example.com")
            waits.append(scene.wait())
        scene.state.accepted()
        longest.append(max(waits))
    assert 4 < max(longest) <= 30.01


def test_refusals_of_one_recipient_never_hold_other_mails_for_longer_than_a_second(
    scene: Scene,
) -> None:
    """Also refusals that look like a state of the server."""
    for number in range(100):
        assert scene.state.refused("quota", BOB) is (number > 0)
        assert scene.wait() <= 1.01


def test_mails_to_the_refused_recipient_step_aside_and_others_wait_in_their_place(
    scene: Scene,
) -> None:
    while scene.state.may_try:  # the wait is random and may be very short
        scene.state.refused("refused at DATA: 421", BOB)
    with pytest.raises(MailServerRefused, match="421") as aside:
        scene.state.seconds_until_try(BOB)
    assert not aside.value.climb
    assert 0 < scene.state.seconds_until_try(ALICE) <= 1
    scene.wait()
    assert scene.state.seconds_until_try(BOB) == scene.state.seconds_until_try(ALICE) == 0


def test_longer_wait_raises_mail_server_down(scene: Scene) -> None:
    """The partition then waits, and its wait ends at once when the service stops."""
    for number in range(30):
        scene.state.refused("quota", f"customer-{number}@example.com")
        if _left(scene) < 1.1:
            scene.wait()
            continue
        with pytest.raises(MailServerDown, match="quota"):
            scene.state.seconds_until_try(ALICE)
        return
    pytest.fail("30 refusals and no wait above a second")


def _left(scene: Scene) -> float:
    """Seconds that are left of the current wait."""
    began = scene.now
    seconds = scene.wait()
    scene.now = began
    return seconds


def test_accepted_mail_ends_every_wait(scene: Scene) -> None:
    for number in range(6):
        scene.state.refused("quota", f"customer-{number}@example.com")
    scene.state.accepted()
    assert scene.state.seconds_until_try(ALICE) == 0
    assert scene.state.reason == ""
    scene.state.refused("quota", ALICE)
    assert scene.wait() <= 1.01, "the count begins again"


def test_connection_clears_a_connection_failure_but_no_quota(scene: Scene) -> None:
    scene.state.unreachable("no connection")
    scene.state.connected()
    assert scene.state.reason == ""
    scene.state.refused("quota", ALICE)
    scene.state.connected()
    assert scene.state.reason == "quota"


def test_waits_for_a_connection_are_5_seconds_at_most(scene: Scene) -> None:
    waits = []
    for _ in range(100):
        scene.state.unreachable("no connection")
        waits.append(scene.wait())
    assert 2 < max(waits) <= 5.01


def test_rejections_of_five_recipients_in_a_row_count_as_a_state_of_the_server(
    scene: Scene,
) -> None:
    for _ in range(50):
        assert not scene.state.rejected("554", BOB), "one customer's mails never do"
    for number in range(3):
        assert not scene.state.rejected("554", f"customer-{number}@example.com")
    assert scene.state.rejected("554", ALICE)
    assert scene.state.reason == "554"
    assert scene.wait() <= 4.01
    scene.state.accepted()
    assert not scene.state.rejected("554", ALICE)
