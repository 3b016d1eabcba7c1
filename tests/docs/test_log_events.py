"""docs/log-events.md describes each log event of the code, and no other one."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from rotator.core.balance import News
from rotator.core.protocol import Event
from rotator.errors import Code
from tests.docs.commands import ROOT

PAGE = (ROOT / "docs/log-events.md").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error"}
METHODS = LEVELS | {"exception", "log"}
# The calls whose event is not a literal, and the levels and fields of their events.
COMPUTED = {
    "step.event.value": [event.value for event in Event],
    "level": [news.value for news in News],
    "Code.INTERNAL_ERROR.value": [Code.INTERNAL_ERROR.value],
    "event": ["rotation.waiting", "adoption.waiting"],
}
# Fields that the page describes once, for all events.
EVERYWHERE = {"account", "rotation_id"}


@dataclass
class Logged:
    """What the code or the page says of an event."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    has_more: bool = False


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of a logger in the code, with the method's name."""
    for path in sorted((ROOT / "rotator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            logger, _, method = ast.unparse(node.func).rpartition(".")
            is_logger = method in METHODS and re.search(r"(^|[._])(log|anchor)$", logger)
            if is_logger or (method == "log" and logger.rpartition(".")[2] in ("", "self", "waiting")):
                yield method, node


def events_of(call: ast.Call) -> list[str]:
    """Return the names of the events that a call logs."""
    first = call.args[0]
    if isinstance(first, ast.Constant):
        return [str(first.value)]
    return COMPUTED[ast.unparse(first)]


def in_code() -> dict[str, Logged]:
    found: dict[str, Logged] = defaultdict(Logged)
    for method, call in calls():
        for event in events_of(call):
            found[event].levels |= {"error" if method == "exception" else method} & LEVELS
            found[event].fields |= {keyword.arg for keyword in call.keywords if keyword.arg} - EVERYWHERE
            found[event].has_more |= any(keyword.arg is None for keyword in call.keywords)
    return dict(found)


def on_page() -> dict[str, Logged]:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| [^|]+ \| ([^|]*) \| [^|]*\|$", PAGE, re.MULTILINE)
    return {event: Logged({level}, set(re.findall(r"`(\w+)`", fields))) for event, level, fields in rows}


def test_page_has_each_event_of_the_code() -> None:
    code = in_code()
    assert len(code) > 70
    assert sorted(code.keys() - on_page().keys()) == []


def test_page_has_no_event_that_the_code_lacks() -> None:
    assert sorted(on_page().keys() - in_code().keys()) == []


def test_page_has_levels_and_fields_of_the_code() -> None:
    page = on_page()
    for event, code in in_code().items():
        row = page[event]
        assert row.levels <= LEVELS, event
        assert not code.levels or row.levels <= code.levels, event
        assert row.fields >= code.fields if code.has_more else row.fields == code.fields, event


def test_page_explains_each_field_once() -> None:
    explained = re.findall(r"^\| `(\w+)` \| [\w ]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert explained == sorted(set(explained))
    assert set(explained) == set.union(*(row.fields for row in on_page().values()))


def test_events_are_nouns_with_verbs() -> None:
    assert [event for event in in_code() if not re.fullmatch(r"[a-z_]+\.[a-z_]+", event)] == ["internal_error"]
