"""HTML of the pages, without scripts. All text of messages is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources
from urllib.parse import quote, urlencode

from fleet.clients.printable import pretty
from fleet.emulators.topics.views import Message, Messages, Overview, Progress, Topic
from fleet.tools.dead_letters.dead_letter import SUFFIX

STYLE = resources.files("fleet.emulators.topics").joinpath("page.css").read_text(encoding="utf-8")
COUNTS = (20, 100, 500)
"""Selectable numbers of messages per partition."""

_SNIPPET = 160


def topics(found: Overview, bootstrap: str) -> str:
    """Return the page of all topics and consumer groups."""
    dead = [topic for topic in found.topics if topic.open_letters is not None]
    others = [topic for topic in found.topics if topic.open_letters is None]
    waiting = sum(topic.open_letters or 0 for topic in dead)
    lag = sum(progress.lag for progress in found.groups)
    numbers = (
        _number(len(others), "topics")
        + _number(sum(topic.messages for topic in others), "messages")
        + _number(lag, "not consumed yet", "warm" if lag else "good")
        + _number(waiting, "dead letters open", "bad" if waiting else "good")
    )
    body = (
        f"<ul class=numbers>{numbers}</ul>"
        f"<div class=sides><section><h2>Topics</h2>{_topic_table(others, found.groups)}</section>"
        f"<section><h2>Dead letters</h2>{_topic_table(dead, [])}"
        "<p class=hint>To look, replay or drop: <code>make dlq</code></p>"
        f"<h2>Consumer groups</h2>{_group_table(found.groups)}</section></div>"
    )
    return _page("Kafka", bootstrap, body, refresh=True)


def latest(found: Messages, bootstrap: str, last: int, query: str) -> str:
    """Return the page of a topic's latest messages."""
    partly = found.searched < found.total
    said = f"{found.total:,} messages" + (f", the latest {found.searched:,} read" if partly else "")
    if query:
        said += f", {len(found.found):,} with “{escape(query)}”"
    rows = "".join(
        _card(message, found.topic, " open" if number == 0 else "")
        for number, message in enumerate(found.found)
    )
    nothing = "<p class=nothing>Nothing here yet.</p>"
    if query:
        nothing = "<p class=nothing>None of these contains it. Look further back?</p>"
    json = f"/api/topics/{quote(found.topic)}/messages?{urlencode({'n': last, 'q': query})}"
    body = (
        f"<form action='/topic/{quote(found.topic)}'>"
        f"<input type=search name=q value='{escape(query)}' placeholder='Key, header or text'"
        f" aria-label='Key, header or text'><select name=n aria-label='How many'>{_counts(last)}"
        f"</select><button>Search</button><a href='{escape(json)}'>JSON</a></form>"
        f"<p class=hint>{said}</p>{rows or nothing}"
    )
    return _page(found.topic, bootstrap, body)


def trouble(title: str, text: str, bootstrap: str, *, refresh: bool = False) -> str:
    """Return an error page."""
    body = f"<p class=trouble>{escape(text)}</p>"
    if refresh:
        body += "<p class=hint>This page asks again every five seconds.</p>"
    return _page(title, bootstrap, body, refresh=refresh)


def _number(count: int, what: str, colour: str = "") -> str:
    return f"<li class='{colour}'><b>{count:,}</b> {what}"


def _topic_table(topics: Iterable[Topic], groups: Iterable[Progress]) -> str:
    most = max([1, *(len(span) for topic in topics for span in topic.partitions)])
    rows = "".join(_topic_row(topic, groups, most) for topic in topics)
    return (
        "<table><thead><tr><th>Topic<th class=number>Messages<th>Partitions<th>"
        f"</thead><tbody>{rows}</tbody></table>"
        if rows
        else "<p class=nothing>None.</p>"
    )


def _topic_row(topic: Topic, groups: Iterable[Progress], most: int) -> str:
    bars = "".join(
        f"<meter min=0 max={most} value={len(span)} title='partition {number}:"
        f" {len(span):,} messages, offsets {span.first:,} to {span.end:,}'></meter>"
        for number, span in enumerate(topic.partitions)
    )
    if topic.open_letters:
        pills = _pill(f"{topic.open_letters:,} open", "bad")
    elif topic.open_letters == 0:
        pills = _pill("none open", "good")
    else:
        lags = [progress.lag for progress in groups if progress.topic == topic.name]
        pills = _lag(sum(lags)) if lags else ""
    return (
        f"<tr><td><a href='/topic/{quote(topic.name)}'>{escape(topic.name)}</a>"
        f"<td class=number>{topic.messages:,}<td class=bars>{bars}<td>{pills}"
    )


def _group_table(groups: Iterable[Progress]) -> str:
    rows = "".join(
        f"<tr><td>{escape(progress.group)}<td><a href='/topic/{quote(progress.topic)}'>"
        f"{escape(progress.topic)}</a><td class=number>{progress.done:,}<td>{_lag(progress.lag)}"
        for progress in groups
    )
    return (
        "<table><thead><tr><th>Group<th>Topic<th class=number>Consumed<th>"
        f"</thead><tbody>{rows}</tbody></table>"
        if rows
        else "<p class=nothing>No group has committed anything yet.</p>"
    )


def _lag(lag: int) -> str:
    return _pill(f"{lag:,} behind", "warm") if lag else _pill("up to date", "good")


def _pill(text: str, colour: str) -> str:
    return f"<span class='pill {colour}'>{escape(text)}</span>"


def _counts(chosen: int) -> str:
    counts = sorted({*COUNTS, chosen})
    return "".join(
        f"<option value={count}{' selected' if count == chosen else ''}>"
        f"latest {count} of each partition"
        for count in counts
    )


def _card(message: Message, topic: str, opened: str) -> str:
    headers = "".join(f"<dt>{escape(name)}<dd>{escape(value)}" for name, value in message.headers)
    inside = f"<dl>{headers}</dl>" if headers else ""
    return (
        f"<details class=message{opened}><summary>"
        f"<time>{message.when.astimezone():%d %b %H:%M:%S}</time>"
        f"<span class=place>{message.partition}:{message.offset}</span>"
        f"<span class=key>{escape('no key' if message.key is None else message.key)}</span>"
        f"{_state(message)}"
        f"<span class=snippet>{escape((message.value or '')[:_SNIPPET])}</span></summary>"
        f"<div class=inside>{inside}{_value(message)}{_command(message, topic)}</div></details>"
    )


def _value(message: Message) -> str:
    if message.value is None:
        return "<p class=hint>No value (null).</p>"
    if message.cut:
        said = f"<p class=hint>The beginning of {message.size:,} bytes.</p>"
        return f"{said}<pre>{escape(message.value)}</pre>"
    return f"<pre>{escape(pretty(message.value))}</pre>"


def _state(message: Message) -> str:
    if message.letter is None:
        return ""
    reasons = (message.letter.group or "no group", message.letter.error_class or "no reason")
    reason = "".join(_pill(text, "soft") for text in reasons)
    if message.done is None:
        return reason + _pill("open", "bad")
    return reason + _pill(message.done.state, "good")


def _command(message: Message, topic: str) -> str:
    if message.letter is None or message.done is not None:
        return ""
    chosen = f"{topic.removesuffix(SUFFIX)} {message.partition}:{message.offset}"
    return f'<p class=hint><code>make dlq a="replay {escape(chosen)}"</code></p>'


def _page(title: str, bootstrap: str, body: str, *, refresh: bool = False) -> str:
    again = "<meta http-equiv=refresh content=5>" if refresh else ""
    home = "" if title == "Kafka" else "<a href='/'>Kafka</a><span class=slash>/</span>"
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"{again}<title>{escape(title)}</title><link rel=icon href='data:,'>"
        "<link rel=stylesheet href='/page.css'></head><body>"
        f"<header><h1>{home}{escape(title)}</h1><span class=broker>{escape(bootstrap)}</span>"
        f"</header><main>{body}</main></body></html>"
    )
