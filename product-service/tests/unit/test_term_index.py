"""Searching words by their parts, and refreshing the word list."""

import asyncio

import pytest

from app.repositories.term_index import _MAX_AGE, TermIndex


class Catalogue:
    """A fake catalogue with words and a clock that the test controls."""

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
def terms(catalogue: Catalogue) -> TermIndex:
    return TermIndex(catalogue.read, timeout=5, clock=lambda: catalogue.time)


async def being_read(terms: TermIndex, catalogue: Catalogue) -> asyncio.Task[set[str]]:
    """Start a search whose read has been answered but not returned yet."""
    catalogue.open.clear()
    asking = asyncio.create_task(terms.containing("lamp"))
    async with asyncio.timeout(5):
        while not catalogue.reads:
            await asyncio.sleep(0)
    return asking


async def test_words_are_found_by_part(terms: TermIndex) -> None:
    assert await terms.containing("amp") == {"lamp", "lampshade"}
    assert await terms.containing("chair") == {"chair"}
    assert await terms.containing("sofa") == set()


async def test_words_of_other_replicas_are_found_after_refresh(
    terms: TermIndex, catalogue: Catalogue
) -> None:
    await terms.containing("lamp")
    catalogue.words.add("headlamp")
    catalogue.time += _MAX_AGE
    assert "headlamp" not in await terms.containing("lamp")
    assert catalogue.reads == 1
    catalogue.time += 0.1
    assert "headlamp" in await terms.containing("lamp")


async def test_own_words_are_found_at_once(terms: TermIndex, catalogue: Catalogue) -> None:
    await terms.containing("lamp")
    terms.add(["headlamp"])
    assert "headlamp" in await terms.containing("lamp")
    assert catalogue.reads == 1
    catalogue.time += _MAX_AGE + 1  # as if its product had been deleted
    assert "headlamp" not in await terms.containing("lamp")


async def test_words_added_during_read_are_kept(terms: TermIndex, catalogue: Catalogue) -> None:
    asking = await being_read(terms, catalogue)
    terms.add(["headlamp"])  # too late for the read in progress
    catalogue.open.set()
    assert "headlamp" in await asking


async def test_failed_read_keeps_words(terms: TermIndex, catalogue: Catalogue) -> None:
    await terms.containing("lamp")
    terms.add(["headlamp"])
    catalogue.time += _MAX_AGE + 1
    catalogue.fails = True
    with pytest.raises(ConnectionError):
        await terms.containing("lamp")
    catalogue.time -= _MAX_AGE + 1  # the previous read is still fresh
    assert "headlamp" in await terms.containing("lamp")


async def test_waiting_callers_share_one_read(terms: TermIndex, catalogue: Catalogue) -> None:
    first = await being_read(terms, catalogue)
    second = asyncio.create_task(terms.containing("lamp"))
    await asyncio.sleep(0)
    terms.add(["headlamp"])
    catalogue.open.set()
    assert "headlamp" in await first
    assert "headlamp" in await second
    assert catalogue.reads == 1
