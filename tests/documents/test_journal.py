"""The journal's document: formats, fields of other versions, and journals that version 0.1.0 left behind."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import (
    Answered,
    Doubt,
    Gone,
    Identity,
    Journal,
    Learned,
    Phase,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Verification,
    Version,
)
from rotator.documents.journal import (
    FORMAT,
    JournalError,
    JournalNewerError,
    load_journal,
    parse_journal,
    render_journal,
    written_note,
)
from rotator.rotation import Operator, Result
from rotator.vault import Document
from testkit.model import World

GOLDEN = sorted(Path(__file__).with_name("journals-0.1.0").glob("*.json"))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DELETED = Document(2, None, mount="secret", path="rotator/journal/shop")


def stored(data: dict[str, Any] | None) -> Document:
    return Document(1, data)


def plain(journal: Journal) -> dict[str, Any]:
    """Return the document as Vault gives it back."""
    document = render_journal(journal)
    if journal.candidate is not None:
        document["candidate"] = journal.candidate.get_secret_value()
    data: dict[str, Any] = json.loads(json.dumps(document))
    return data


def test_journal_is_the_same_after_a_round_trip() -> None:
    journal = Journal(
        current=Identity("b", Learned.ANSWERED),
        rotated_at=NOW,
        published_version=3,
        candidate=SecretStr("Candidate00001"),
        ids_before=frozenset({"a", "b"}),
        retiring=(Retiring("a", NOW, compromised=True),),
    )
    assert parse_journal(stored(plain(journal))) == journal
    assert "Candidate00001" not in repr(render_journal(journal))


def test_journal_document_names_its_phase() -> None:
    assert plain(Journal(retiring=(Retiring("a", NOW),)))["phase"] == Phase.OVERLAP.value


def test_unknown_fields_survive_at_every_level() -> None:
    data = plain(Journal(current=Identity("b", Learned.ANSWERED), retiring=(Retiring("a", NOW),)))
    data |= {"confirmed_by": ["svc"], "undo": {"version": 4}}
    data["retiring"][0]["reported"] = {"at": "2026-01-01T00:00:00Z"}
    journal = parse_journal(stored(data))
    changed = plain(replace(journal, attempts=1))
    assert changed == data | {"attempts": 1}


def test_journal_without_a_format_is_read() -> None:
    assert parse_journal(stored({"current_id": "a"})).current_id == "a"


def test_journal_of_a_newer_format_is_refused() -> None:
    with pytest.raises(JournalNewerError, match="Run the newer version of rotator"):
        parse_journal(stored({"format": FORMAT + 1, "retiring": "a shape that this version cannot know"}))


@pytest.mark.parametrize("format_", ["1", -1, True, None, 1.5])
def test_journal_format_that_is_no_number_is_refused(format_: object) -> None:
    with pytest.raises(JournalError, match="wrong in: format"):
        parse_journal(stored({"format": format_}))


@pytest.mark.parametrize(
    ("document", "lost", "undelete"),
    [
        pytest.param(Document(0, None), False, None, id="new"),
        pytest.param(Document(2, {}), False, None, id="written"),
        pytest.param(DELETED, True, "vault kv undelete -mount=secret -versions=2 rotator/journal/shop", id="deleted"),
        pytest.param(replace(DELETED, is_destroyed=True), True, None, id="destroyed"),
        pytest.param(Document(0, None, vanished=True), True, None, id="deleted with all its versions"),
    ],
)
def test_lost_journal_names_the_command_that_restores_it(document: Document, lost: bool, undelete: str | None) -> None:
    journal = load_journal(document)
    assert (journal.is_lost, journal.undelete) == (lost, undelete)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"trigger": "undo"}, id="unknown enum value"),
        pytest.param({"retiring": "yes"}, id="no list"),
        pytest.param({"retiring": ["a"]}, id="entry is no object"),
        pytest.param({"lease_until": "9999-12-31T23:59:59Z"}, id="date after all dates"),
        pytest.param({"create_until": "0001-01-01T00:00:00+14:00"}, id="date before all dates"),
        pytest.param({"next_attempt_at": "2026-01-01T00:00:00"}, id="date without a time zone"),
        pytest.param({"retiring": [{"id": "a", "not_before": "9999-12-31T00:00:00Z"}]}, id="date of an entry"),
        pytest.param({"strangers": {"ids": ["a"], "seen_at": "0001-01-01T00:00:00Z"}}, id="date of a part"),
    ],
)
def test_unreadable_journal_advises_no_deletion(data: dict[str, Any]) -> None:
    with pytest.raises(JournalError) as caught:
        parse_journal(stored(data))
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("command", ["run", "adopt", "unaccounted"])
def test_journal_of_a_newer_format_stops_every_run(command: str) -> None:
    """Nothing is written to either document, and the provider gets no request."""
    world = World()
    world.provider.add("shopkey", "FirstSecret001")
    world.publish("FirstSecret001")
    path = world.settings.journal_path(world.account)
    world.vault.versions[path] = [{"format": FORMAT + 1}]
    world.provider.list_secrets = None  # type: ignore[assignment,method-assign] # a request would fail loudly
    rotation = world.rotation(fresh_after=world.clock())
    if command == "run":
        outcome = rotation.run()
        assert outcome.result is Result.FAILED
        assert "newer version" in (outcome.error or "")
    else:
        operator = Operator(rotation)
        with pytest.raises(JournalNewerError):
            operator.adopt(SecretStr("x"), None) if command == "adopt" else operator.unknown()
    assert world.vault.versions[path] == [{"format": FORMAT + 1}]
    assert len(world.vault.versions["apps/shop"]) == 1


def world_of(file: Path) -> World:
    """Return the world that version 0.1.0 left behind: both documents with their times, and the provider's secrets."""
    left = json.loads(file.read_text())
    world = World(max_secrets=left["max_secrets"])
    world.clock.now = datetime.fromisoformat(left["now"])
    world.provider.secrets["shopkey"] = {
        id_: (value, datetime.fromisoformat(created)) for id_, (value, created) in left["secrets"].items()
    }
    path = world.settings.journal_path(world.account)
    for place, versions, times in (
        (path, left["journal"], left["journal_at"]),
        ("apps/shop", left["published"], left["published_at"]),
    ):
        for version, at in zip(versions, times, strict=True):
            world.vault.versions.setdefault(place, []).append(version)
            world.vault.taken_at(version, datetime.fromisoformat(at))
    return world


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_journal_of_first_version_survives_a_round_trip(file: Path) -> None:
    for data in json.loads(file.read_text())["journal"]:
        written = plain(parse_journal(stored(data)))
        assert written["format"] == 1
        id_ = written.pop("current_id")["id"]
        retiring = [{key: entry[key] for key in ("id", "not_before", "compromised")} for entry in written["retiring"]]
        assert data.items() <= (written | {"current_id": id_, "retiring": retiring}).items()


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_journal_of_version_0_1_0_converges(file: Path) -> None:
    world = world_of(file)
    worked = world.consumer_works()
    world.clock.wait(timedelta(hours=2))
    outcome = world.rotation(patience=timedelta(days=1)).run()
    assert world.consumer_works() or not worked
    if file.stem in ("ambiguous", "refused"):
        assert outcome.result is Result.FAILED
        return
    assert outcome.result is Result.OK, outcome
    assert world.journal.phase is Phase.IDLE
    assert set(world.live) == {world.journal.current_id}


def test_unknown_fields_survive_in_every_part() -> None:
    journal = Journal(
        current=Identity("b", Learned.PENDING),
        rotation_id="rotation",
        request=Request(RequestKind.FORCE, Target("b"), NOW, "somebody", "request"),
        candidate=SecretStr("Candidate00001"),
        candidate_id=Answered("rotation", "c"),
        verification=Verification("rotation", NOW, NOW),
        publishing=Publishing(1, Retiring("d", NOW, identity=Identity("d", Learned.ANSWERED))),
        retiring=(
            Retiring("a", NOW, identity=Identity("a", Learned.ANSWERED), published_in=Version(1, NOW, "a", "b")),
        ),
        gone=(Gone("e", NOW),),
        last_doubt=Doubt(frozenset({"f"}), NOW),
        noticed=Doubt(frozenset({"g"}), NOW),
    )
    data = plain(journal)
    add_unknown_fields(data)
    assert plain(parse_journal(stored(data))) == data


def add_unknown_fields(value: Any) -> None:
    """Add a field to every object."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        add_unknown_fields(part)
    if isinstance(value, dict):
        value["of_a_newer_version"] = {"several": [1]}


AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
AHEAD = timedelta(minutes=5)
NOTED = {"version": 7, "at": AT.isoformat()}


@pytest.mark.parametrize(
    ("noted", "read_at", "ahead"),
    [
        (NOTED, AT, AHEAD),
        (NOTED, AT + AHEAD - timedelta(seconds=2), AHEAD),
        (NOTED, AT + AHEAD, timedelta()),
        (NOTED, None, timedelta()),
        (NOTED, AT - timedelta(seconds=2), timedelta()),
        (NOTED | {"version": 6}, AT, timedelta()),
        (NOTED | {"at": "2026-11-26T12:00:00"}, AT, timedelta()),
        (NOTED | {"at": "0001-01-01T00:00:00+00:00"}, AT, timedelta()),
        (NOTED | {"at": "noon"}, AT, timedelta()),
        ("noon", AT, timedelta()),
        (None, AT, timedelta()),
    ],
    ids=[
        "at once",
        "later",
        "not from the future any more",
        "no date",
        "noted by another clock",
        "of an earlier version",
        "no time zone",
        "no date of a server",
        "no time",
        "no note",
        "null",
    ],
)
def test_note_tells_when_a_version_was_written(noted: object, read_at: datetime | None, ahead: timedelta) -> None:
    """Vault stored it by a clock that is ahead of the one that dates the answers."""
    data = render_journal(Journal(attempts=1)) | {"written": noted}
    created = AT + AHEAD
    document = Document(7, data, created=created, expires_at=created + timedelta(days=1), read_at=read_at)
    found = load_journal(document)
    assert (found.written_at, found.expires_at) == (created - ahead, created + timedelta(days=1) - ahead)
    assert found.journal == Journal(attempts=1), "it is no field of another version of rotator"


def test_note_names_the_version_that_contains_it() -> None:
    assert written_note(7, AT) == {"written": NOTED}
