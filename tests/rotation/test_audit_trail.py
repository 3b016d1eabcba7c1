"""The audit lines of a rotation: each action, each crash, and a log that is unwritable."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator import audit
from rotator.audit import AuditLog
from rotator.audit.verify import verify
from rotator.core.protocol import Create, Event, Phase, Prepare, Publish, Revoke, Step
from rotator.errors import RotatorError
from rotator.rotation import Operator, Result
from testkit.model import World
from tests.audit.harness import WHOLE, acts, fields, no_room, written
from tests.rotation.worlds import FIRST, adopted, answered, rotate, run_until


def audited(file: Path, **world: Any) -> World:
    """A world with one account that rotator knows, and a log that is still empty."""
    made = adopted(**world)
    made.audit = AuditLog(file, made.clock)
    return made


def test_rotation_has_two_lines_for_each_action(audit_file: Path) -> None:
    world = audited(audit_file, grace=timedelta())
    outcome = rotate(world, instance="host/1/ab")
    assert acts(audit_file) == WHOLE
    lines = fields(audit_file)
    assert {line["rotation_id"] for line in lines} == {outcome.rotation_id}
    assert {line["trigger"] for line in lines} == {"manual"}
    assert {line["actor"]["runner"] for line in lines} == {"host/1/ab"}
    assert world.published
    made = audit.fingerprint("shopkey", world.published)
    assert [line["fingerprint"] for line in lines] == [made] * 4 + [None] * 2
    new, old = world.journal.current_id, outcome.revoked[0]
    assert [line["secret_id"] for line in lines] == [None, new, new, new, old, old]
    assert [line["version"] for line in lines] == [None, None, None, 2, None, None]
    assert world.published not in audit_file.read_text()
    assert verify([audit_file]).problem is None


def test_guessable_values_have_no_fingerprint(audit_file: Path) -> None:
    world = audited(audit_file)
    world.settings = world.settings.model_copy(
        update={"accounts": (world.account.model_copy(update={"secret_length": 21}),)}
    )
    rotate(world)
    assert world.journal.phase is Phase.OVERLAP
    assert {line["fingerprint"] for line in fields(audit_file)} == {None}


@pytest.mark.parametrize(
    ("kind", "then_perform", "first", "then"),
    [
        (Create, False, ["create started"], WHOLE),
        (Create, True, WHOLE[:2], WHOLE[2:]),
        (Publish, False, WHOLE[:2], WHOLE[2:]),
        (Publish, True, WHOLE[:4], ["publish confirmed", *WHOLE[4:]]),
        (Event.COMMITTED, True, WHOLE[:4], WHOLE[4:]),
        (Revoke, True, WHOLE, []),
    ],
)
def test_run_after_a_crash_records_its_findings(
    audit_file: Path, kind: Any, then_perform: bool, first: list[str], then: list[str]
) -> None:
    world = audited(audit_file, grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), kind, then_perform=then_perform)
    assert acts(audit_file) == first
    world.clock.wait(timedelta(hours=1))
    world.rotation(patience=timedelta(days=1)).run()
    assert acts(audit_file) == first + then
    assert len({line["rotation_id"] for line in fields(audit_file)}) == 1
    assert {line["fingerprint"] for line in fields(audit_file)[len(first) :]} <= {None}, (
        "the value may be of any recipe"
    )


@pytest.mark.parametrize("fault", ["lost-before", "lost-after"])
def test_create_with_lost_answer_is_unknown(audit_file: Path, fault: str) -> None:
    world = audited(audit_file)
    world.provider.fault = fault
    rotate(world)
    repeated = ["create started", "create succeeded"] if fault == "lost-before" else []
    assert acts(audit_file) == ["create started", "create unknown", *repeated, "publish started", "publish succeeded"]


@pytest.mark.parametrize("fault", ["lost-before", "lost-after"])
def test_publication_with_lost_answer_is_found_later(audit_file: Path, fault: str) -> None:
    world = audited(audit_file)
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    rotation = world.rotation()
    run_until(rotation, Publish, then_perform=False)
    world.vault.fault = fault
    with pytest.raises(RotatorError):
        rotation.perform(rotation.decide())
    assert acts(audit_file)[2:] == ["publish started", "publish unknown"]
    world.clock.wait(timedelta(hours=1))
    world.rotation().run()
    again = ["publish started", "publish succeeded"]
    assert acts(audit_file)[4:] == (again if fault == "lost-before" else ["publish confirmed"])


def test_overtaken_rotation_has_no_create_line(audit_file: Path) -> None:
    world = audited(audit_file)
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Prepare, then_perform=False)
    step = rotation.decide()
    rotate(world)
    before = len(acts(audit_file))
    rotation.perform(step)
    assert acts(audit_file)[before:] == ["create started", "create failed"]


@pytest.mark.parametrize("kind", [Create, Publish, Revoke])
def test_lease_is_checked_after_a_slow_line(audit_file: Path, kind: type[Step]) -> None:
    """Patroni's rule: whatever comes between the look at the lease and the act is taken from the lease."""
    world = audited(audit_file, grace=timedelta())
    delays: list[timedelta] = []

    def slow_clock() -> datetime:
        for delay in delays:
            world.clock.wait(delay)
        return world.clock()

    world.audit = AuditLog(audit_file, slow_clock)
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    rotation = world.rotation()
    run_until(rotation, kind, then_perform=False)
    step, live, published = rotation.decide(), dict(world.live), world.published
    delays.append(rotation.policy.lease)
    rotation.perform(step)
    assert (world.live, world.published) == (live, published)
    assert acts(audit_file)[-2:] == [f"{kind.__name__.lower()} started", f"{kind.__name__.lower()} failed"]


def test_rescue_is_recorded_as_one(audit_file: Path) -> None:
    world = audited(audit_file)
    world.publish("WrongSecret001")
    world.clock.wait(timedelta(hours=1))
    world.rotation().run()
    assert world.published == FIRST
    assert [(line["event"], line["result"], line["trigger"]) for line in fields(audit_file)] == [
        ("publish", "started", "rescue"),
        ("publish", "succeeded", "rescue"),
    ]


def test_adopted_value_has_no_fingerprint(audit_file: Path) -> None:
    world = World(audit=AuditLog(audit_file))
    world.provider.add("shopkey", FIRST)
    Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert [(line["event"], line["result"], line["trigger"]) for line in fields(audit_file)] == [
        ("publish", "started", "adopt"),
        ("publish", "succeeded", "adopt"),
    ]
    assert {line["fingerprint"] for line in fields(audit_file)} == {None}


def test_resolve_is_recorded_before_its_revocation(audit_file: Path) -> None:
    world = answered()
    world.audit = AuditLog(audit_file, world.clock)
    world.provider.add("shopkey", "ByHandSecret01")
    operator = Operator(world.rotation())
    (unknown,) = operator.unknown()
    operator.resolve(frozenset({unknown}))
    assert acts(audit_file) == ["retire started", "retire succeeded", "revoke started", "revoke succeeded"]
    assert {line["secret_id"] for line in fields(audit_file)} == {unknown}
    assert {line["trigger"] for line in fields(audit_file)[:2]} == {"resolve"}


def test_rotation_does_not_start_when_log_is_unwritable(audit_file: Path) -> None:
    world = audited(audit_file)
    written(audit_file, 1)
    before = world.vault.versions["rotator/journal/shop"][-1]
    with no_room(audit_file):
        outcome = rotate(world)
    assert outcome.result is Result.FAILED
    assert "cannot be written (File too large), and rotator starts nothing unaudited. Nothing was changed." in str(
        outcome.error
    )
    assert (world.published, list(world.live.values())) == (FIRST, [FIRST])
    assert world.journal.candidate is None
    assert before["rotation_id"] == world.journal.rotation_id
    world.clock.wait(timedelta(hours=1))
    assert rotate(world).published, "once there is room"


@pytest.mark.parametrize("kind", [Create, Publish, Event.COMMITTED, Revoke])
def test_started_rotation_finishes_when_log_is_unwritable(audit_file: Path, kind: Any) -> None:
    world = audited(audit_file, grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), kind, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    with no_room(audit_file), capture_logs() as logs:
        world.rotation(patience=timedelta(days=1)).run()
    assert world.journal.phase is Phase.IDLE
    assert world.published != FIRST
    assert list(world.live.values()) == [world.published]
    lost = [line for line in logs if line["event"] == "audit.lost"]
    assert lost
    assert len(fields(audit_file)) + len(lost) >= len(WHOLE)
    world.clock.wait(timedelta(minutes=1))
    rotate(world)
    assert [line["lost"] for line in fields(audit_file) if "lost" in line] == [len(lost)]
    assert verify([audit_file]).problem is None


def test_rescue_happens_when_log_is_unwritable(audit_file: Path) -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    world.audit = AuditLog(audit_file)
    written(audit_file, 1)
    world.provider.secrets["shopkey"].clear()
    world.provider.add("shopkey", "OnlyTheDashboard1")
    world.clock.wait(timedelta(hours=1))
    with no_room(audit_file), capture_logs():
        outcome = world.rotation().run()
    assert outcome.published, outcome
    assert world.consumer_works()
