"""Which words have something in the midst of them, and how soon a new word is known."""

import asyncio

import pytest

from app.repositories.term_index import _FRESH, Vocabulary


class Catalogue:
    """Words that a test changes, and a clock that it moves."""

    def __init__(self) -> None:
        self.words = {"lamp", "lampshade", "chair"}
        self.time = 100.0
        self.reads = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fails = False

    async def read(self) -> list[str]:
        self.reads += 1
        if self.fails:
            raise ConnectionError
        found = sorted(self.words)
        await self.open.wait()
        return found


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture
def vocabulary(catalogue: Catalogue) -> Vocabulary:
    return Vocabulary(catalogue.read, seconds=5, clock=lambda: catalogue.time)


async def being_read(vocabulary: Vocabulary, catalogue: Catalogue) -> asyncio.Task[set[str]]:
    """A question that waits for the words, which the catalogue has told and not yet sent."""
    catalogue.open.clear()
    asking = asyncio.create_task(vocabulary.containing("lamp"))
    async with asyncio.timeout(5):
        while not catalogue.reads:
            await asyncio.sleep(0)
    return asking


async def test_words_are_found_by_any_part(vocabulary: Vocabulary) -> None:
    assert await vocabulary.containing("amp") == {"lamp", "lampshade"}
    assert await vocabulary.containing("chair") == {"chair"}
    assert await vocabulary.containing("sofa") == set()


async def test_what_others_stored_is_known_a_little_later(
    vocabulary: Vocabulary, catalogue: Catalogue
) -> None:
    await vocabulary.containing("lamp")
    catalogue.words.add("headlamp")
    catalogue.time += _FRESH
    assert "headlamp" not in await vocabulary.containing("lamp")
    assert catalogue.reads == 1
    catalogue.time += 0.1
    assert "headlamp" in await vocabulary.containing("lamp")


async def test_what_was_stored_here_is_known_at_once(
    vocabulary: Vocabulary, catalogue: Catalogue
) -> None:
    await vocabulary.containing("lamp")
    vocabulary.add(["headlamp"])
    assert "headlamp" in await vocabulary.containing("lamp")
    assert catalogue.reads == 1
    catalogue.time += _FRESH + 1  # its product has been deleted since, let us say
    assert "headlamp" not in await vocabulary.containing("lamp")


async def test_what_is_stored_while_words_are_read_is_not_lost(
    vocabulary: Vocabulary, catalogue: Catalogue
) -> None:
    asking = await being_read(vocabulary, catalogue)
    vocabulary.add(["headlamp"])  # too late for the answer that is under way
    catalogue.open.set()
    assert "headlamp" in await asking


async def test_a_failure_loses_no_word(vocabulary: Vocabulary, catalogue: Catalogue) -> None:
    await vocabulary.containing("lamp")
    vocabulary.add(["headlamp"])
    catalogue.time += _FRESH + 1
    catalogue.fails = True
    with pytest.raises(ConnectionError):
        await vocabulary.containing("lamp")
    catalogue.time -= _FRESH + 1  # what was read before is still good
    assert "headlamp" in await vocabulary.containing("lamp")


async def test_who_waited_for_a_reading_does_not_read_again(
    vocabulary: Vocabulary, catalogue: Catalogue
) -> None:
    first = await being_read(vocabulary, catalogue)
    second = asyncio.create_task(vocabulary.containing("lamp"))
    await asyncio.sleep(0)
    vocabulary.add(["headlamp"])
    catalogue.open.set()
    assert "headlamp" in await first
    assert "headlamp" in await second
    assert catalogue.reads == 1
