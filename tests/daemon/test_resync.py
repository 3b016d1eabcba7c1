"""What happened without this daemon: runs of other instances, and documents that were changed by hand."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from rotator.daemon.facts import DocumentSeen, JournalLoaded, LookFailed, ResyncEnded, Tick
from rotator.daemon.tasks import LoadJournal, Resync, Run
from rotator.vault import Document
from tests.daemon.harness import CALM, DAY, MINUTE, NOW, SEALED, SECOND, Bench, ok, rotated

CHANGED = {
    "event": "account.changed_elsewhere",
    "log_level": "info",
    "account": "a",
    "state": "idle",
    "secret_id": "id",
}


@pytest.mark.parametrize("learned", ["change", "resync", "run"])
def test_change_by_another_instance_is_logged(bench: Bench, learned: str) -> None:
    bench.start("a", daemon={"verify_interval": "1m", "resync_interval": "2m"}, balance={"every": "off"})
    bench.load(a=rotated())
    changed = replace(rotated(), published_version=2)
    with capture_logs() as log:
        if learned == "change":
            bench.announce_changes("a")
            bench.answer_loads(a=changed)
        bench.advance(MINUTE)
        bench.end(bench.take_one(Run), ok("a", rotated() if learned == "resync" else changed))
        if learned == "resync":
            bench.now += MINUTE
            bench.feed(Tick())
            [look] = bench.take_one(Resync).looks
            bench.feed(DocumentSeen(look, Document(0, None), changed, refresh_at=None))
    assert [entry for entry in log if entry["event"] == CHANGED["event"]] == [CHANGED]


def test_lease_of_another_instance_is_not_logged(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated())
    bench.announce_changes("a")
    with capture_logs() as log:
        bench.answer_loads(a=rotated(lease_holder="another", lease_until=NOW + MINUTE))
    assert log == []


def test_resync_loads_the_changes_of_another_instance(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated(31 * DAY, lease_holder="other", lease_until=NOW + timedelta(hours=1)))
    bench.advance(MINUTE)
    [look] = bench.take_one(Resync).looks
    bench.feed(
        DocumentSeen(look, Document(2, {}, NOW), rotated(published_version=2, published_at=NOW), refresh_at=None)
    )
    assert bench.account("a").rotated_at == NOW
    assert bench.jobs.at["a"] > NOW + 29 * DAY


def test_document_changed_by_hand_is_tried_at_once(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    journal = rotated(published_version=2, published_at=NOW)
    bench.load(a=journal)
    for _ in range(2):
        bench.advance(MINUTE)
        resync = bench.take_one(Resync)
        bench.feed(DocumentSeen(resync.looks[0], Document(3, {}, NOW), journal, refresh_at=None), ResyncEnded())
    bench.advance()
    assert bench.running() == ["a"], "once, however often it is seen"


def test_look_is_void_if_the_account_ran_meanwhile(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated(30 * DAY - MINUTE))
    bench.now += MINUTE
    bench.advance(SECOND)
    [look] = bench.take_one(Resync).looks
    run = bench.take_one(Run)
    seen = DocumentSeen(look, Document(1, {}, NOW), rotated(29 * DAY), refresh_at=None)
    bench.feed(seen)
    assert bench.record("a").journal == rotated(30 * DAY - MINUTE)
    bench.end(run, ok("a", rotated(), published=True))
    bench.feed(seen)
    assert bench.record("a").journal == rotated()


def test_failed_look_waits_for_its_next_turn(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d", "resync_interval": "1m"}, balance={"every": "off"})
    bench.load(a=rotated())
    bench.advance(MINUTE)
    resync, checks = bench.take_one(Resync), bench.checks
    bench.feed(LookFailed(resync.looks[0], SEALED), ResyncEnded())
    assert bench.record("a").looked_at == bench.now
    assert bench.checks == checks + 1


def test_resync_looks_first_at_accounts_unseen_for_longest(bench: Bench) -> None:
    bench.start("a", "b", daemon={"resync_interval": "1m", "verify_interval": "365d"}, balance={"every": "off"})
    bench.available()
    first, second = bench.take(LoadJournal)
    bench.feed(JournalLoaded(second, rotated()))
    bench.advance(10 * SECOND)
    bench.feed(JournalLoaded(first, rotated()))
    bench.advance(MINUTE)
    assert [look.target.name for look in bench.take_one(Resync).looks] == ["b", "a"]
