"""The audit log: what it says of every course that a rotation can take, and that no change of it goes unnoticed."""

import fcntl
import gzip
import hashlib
import json
import os
import pwd
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator import audit
from rotator.audit import Act, AuditError, AuditLog, Entry
from rotator.audit.entry import person
from rotator.audit.file import lock_file
from rotator.audit.verify import Verdict, verify
from rotator.core.protocol import Create, Event, Phase, Prepare, Publish, Revoke, Step
from rotator.errors import ConfigError, RotatorError
from rotator.provider import LostAnswer, Unauthorized
from rotator.rotation import Operator, Result
from testkit.cluster import Cluster
from testkit.model import World
from tests.cli.harness import Payments, opened
from tests.rotation.worlds import FIRST, adopted, answered, rotate, run_until

NOW = datetime(2026, 11, 23, 18, 5, 7, 250_000, tzinfo=UTC)
CREATED = Entry(Act.CREATE, "shop", "shopkey", "host/1/ab", "schedule", "r1", "id-2", "0123456789abcdef")
Lines = list[dict[str, Any]]


def log_at(file: Path, max_wait: timedelta = timedelta(minutes=1)) -> AuditLog:
    """A log that waits for the lock for as long as a busy machine can take."""
    return AuditLog(file, lambda: NOW, max_wait=max_wait)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def written(file: Path, count: int = 5) -> list[bytes]:
    """Lines of a log, with their ends."""
    log = log_at(file)
    for _ in range(count):
        log.note(CREATED, audit.Result.SUCCEEDED)
    return file.read_bytes().splitlines(keepends=True)


def fields(file: Path) -> Lines:
    return [json.loads(line) for line in file.read_text().splitlines()]


def problem(file: Path, lines: Sequence[bytes], head: str | None = None) -> str | None:
    file.write_bytes(b"".join(lines))
    return verify([file], head).problem


@contextmanager
def no_room(file: Path, left: int = 0) -> Iterator[None]:
    """No file of this process may grow any more, beyond what the log has and so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- a line ------------------------------------------------------------------------------------------------------


def test_line_has_actor_action_secret_and_trigger(file: Path) -> None:
    log_at(file).note(CREATED, audit.Result.SUCCEEDED)
    (line,) = fields(file)
    assert line.pop("hash")
    assert line.pop("actor")["user"]
    assert line == {
        "seq": 1,
        "at": "2026-11-23T18:05:07.250Z",
        "event": "create",
        "result": "succeeded",
        "account": "shop",
        "api_key": "shopkey",
        "secret_id": "id-2",
        "rotation_id": "r1",
        "trigger": "schedule",
        "fingerprint": "0123456789abcdef",
        "version": None,
        "prev": None,
    }


def test_hash_is_computed_with_ordinary_tools(file: Path) -> None:
    written(file, 3)
    before = None
    for line in file.read_text().splitlines():
        content, digest = re.fullmatch(r'(.*),"hash":"([0-9a-f]{64})"\}', line).groups()  # type: ignore[union-attr]
        command = ["sh", "-c", """printf %s "$1" | sha256sum""", "sh", content]
        assert subprocess.check_output(command, text=True).split()[0] == digest
        assert json.loads(line)["prev"] == before
        before = digest


def test_hash_is_in_the_ordinary_log(file: Path) -> None:
    with capture_logs() as logs:
        written(file, 2)
    assert [(line["event"], line["seq"], line["act"]) for line in logs] == [
        ("audit.recorded", 1, "create"),
        ("audit.recorded", 2, "create"),
    ]
    assert [line["audit"] for line in logs] == [line["hash"] for line in fields(file)]


def test_new_log_is_readable_by_its_owner_only(file: Path) -> None:
    written(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_foreign_text_cannot_begin_a_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", '"}\n{"seq":2}\x1b[2J\u2028' + "x" * 1000)
    audit.person.cache_clear()
    try:
        written(file, 1)
    finally:
        audit.person.cache_clear()
    (line,) = fields(file)
    assert len(line["actor"]["sudo_user"]) == 64
    assert file.read_text().isascii()
    assert verify([file]).problem is None


def test_audit_log_writes_nothing_without_a_file(tmp_path: Path) -> None:
    log = AuditLog(None)
    log.check()
    with log.acting(CREATED, required=True):
        pass
    assert not list(tmp_path.iterdir())


# --- a chain -----------------------------------------------------------------------------------------------------


def test_verify_accepts_an_unchanged_log(file: Path) -> None:
    written(file, 5)
    assert verify([file]) == Verdict(5, fields(file)[-1]["hash"], None)


@pytest.mark.parametrize("edit", ["delete", "swap", "repeat"])
def test_verify_names_missing_moved_or_repeated_line(file: Path, edit: str) -> None:
    lines = written(file, 6)
    if edit == "delete":
        del lines[2:4]
        assert problem(file, lines) == f"{file}:3 follows on seq 2 with seq 5: the lines between are missing"
    elif edit == "swap":
        lines[2], lines[3] = lines[3], lines[2]
        assert problem(file, lines) == (f"{file}:3 is out of order: seq 4 after 2, and seq 3 comes later")
    else:
        lines.insert(3, lines[2])
        assert problem(file, lines) == f"{file}:4 is out of order: seq 3 after 3"


def test_verify_names_a_rewritten_line(file: Path) -> None:
    lines = written(file, 3)
    content = lines[1].rpartition(b',"hash":"')[0].replace(b'"shop"', b'"else"')
    lines[1] = content + b',"hash":"' + hashlib.sha256(content).hexdigest().encode() + b'"}\n'
    assert problem(file, lines) == f"{file}:3 does not follow from the previous line: one of the two was replaced"


CONTINUES = (
    "{} continues another file (seq {}): the lines before it are missing. Name that file first, or the hash of its "
    "last line with --from, as the ordinary log has it"
)


def test_verify_refuses_log_without_its_beginning(file: Path) -> None:
    lines = written(file, 4)
    hashes = [line["hash"] for line in fields(file)]
    assert problem(file, lines[-1:], hashes[-1]) == CONTINUES.format(f"{file}:1", 4)
    assert verify([file], start=hashes[2]).problem is None
    assert verify([file], start=hashes[1]).problem == f"{file}:1 does not follow the line with the hash {hashes[1]}"
    assert problem(file, lines) is None
    assert verify([file], start=hashes[1]).problem == f"{file}:1 does not follow the line with the hash {hashes[1]}"
    file.write_bytes(b"")
    assert "all lines were removed" in str(verify([file], start=hashes[3]).problem)


@pytest.mark.parametrize("text", ["", "xyz", "9f86d081", "g" * 64, "a" * 65])
def test_verify_refuses_text_that_is_no_hash(file: Path, text: str) -> None:
    file.touch()
    for option, hashes in (("--head", {"head": text}), ("--from", {"start": text})):
        with pytest.raises(ConfigError, match=rf"^{option}: a hash has 64 hexadecimal digits"):
            verify([file], **hashes)


def test_verify_ends_when_a_file_does_not() -> None:
    """A device has no line break. Without a bound for lines, it would fill the memory."""
    assert verify([Path("/dev/zero")]).problem == "/dev/zero:1 was changed"


def test_verify_with_head_finds_a_cut_end(file: Path) -> None:
    lines = written(file, 4)
    head = json.loads(lines[-1])["hash"]
    assert problem(file, lines, head) is None
    assert problem(file, lines[:2]) is None, "the file alone cannot tell"
    found = problem(file, lines[:2], head)
    assert found == f"no line has the hash {head}: the lines after seq 2 were removed, or it belongs to another log"
    assert "all lines" in str(problem(file, [], head))


@given(st.data())
def test_verify_finds_any_changed_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    content = bytearray(b"".join(written(file, 3)))
    place = data.draw(st.integers(0, len(content) - 2))  # the last line's end is no part of what it says
    changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    content[place] = changed
    assert problem(file, [bytes(content)]) is not None


def test_verify_finds_foreign_text_anywhere(file: Path) -> None:
    lines = written(file, 2)
    for place in range(3):
        edited = [*lines[:place], b'{"seq":7}\n', *lines[place:]]
        assert problem(file, edited) == f"{file}:{place + 1} was changed"


# --- writers that die, disks that are full ---------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 40, 200])
def test_chain_continues_after_a_truncated_line(file: Path, left: int) -> None:
    lines = written(file, 3)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:left])
    assert verify([file]).problem == (
        f"{file}:3 is truncated: its writer died, or a person cut it. The next line will say which"
    )
    log_at(file).note(CREATED, audit.Result.SUCCEEDED)
    verdict = verify([file])
    assert (verdict.problem, verdict.lines) == (None, 3)
    assert verdict.notes == (f"{file}:3 was truncated during its write, as the next line says",)
    assert problem(file, file.read_bytes().splitlines(keepends=True)[:2] + file.read_bytes().splitlines(True)[3:]) == (
        f"a truncated line before {file}:3 is missing"
    )


def test_line_without_its_break_is_valid(file: Path) -> None:
    lines = written(file, 2)
    file.write_bytes(b"".join(lines).removesuffix(b"\n"))
    assert verify([file]).problem is None
    log_at(file).note(CREATED, audit.Result.SUCCEEDED)
    assert verify([file]) == Verdict(3, fields(file)[-1]["hash"], None)


@pytest.mark.parametrize("left", [0, 30])
def test_next_line_counts_lines_lost_to_full_disk(file: Path, left: int) -> None:
    written(file, 2)
    before, log = file.read_bytes(), log_at(file)
    with no_room(file, left), capture_logs() as logs:
        log.note(CREATED, audit.Result.SUCCEEDED)
        log.note(CREATED, audit.Result.SUCCEEDED)
    assert [line["event"] for line in logs] == ["audit.lost", "audit.lost"]
    assert logs[0]["line"]["secret_id"] == "id-2", "what the file lacks, the ordinary log has"
    assert file.read_bytes() == before, "no part of a line is left"
    log.note(CREATED, audit.Result.SUCCEEDED)
    log.note(CREATED, audit.Result.SUCCEEDED)
    assert [line.get("lost") for line in fields(file)] == [None, None, 2, None]
    verdict = verify([file])
    assert (verdict.problem, verdict.lines) == (None, 4)
    assert verdict.notes == (f"lines that could not be written before {file}:3, as it says: 2",)


def test_required_line_stops_an_action_when_impossible(file: Path) -> None:
    log, done = log_at(file), []
    written(file, 1)
    with no_room(file), pytest.raises(AuditError) as caught, log.acting(CREATED, required=True):
        done.append("it")
    assert not done
    assert str(caught.value) == (
        f"{file} cannot be written (File too large), and rotator starts nothing unaudited. Nothing was changed. "
        "Make room for it, or name another file with ROTATOR_AUDIT__FILE. To see whether it works now: rotator check."
    )
    log.note(CREATED, audit.Result.SUCCEEDED)
    assert "lost" not in fields(file)[-1], "nothing happened that has no line"


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (LostAnswer("no answer"), "unknown"),
        (Unauthorized("no", status=401), "failed"),
        (RotatorError("no"), "failed"),
    ],
)
def test_result_line_follows_the_error(file: Path, error: RotatorError, result: str) -> None:
    with pytest.raises(type(error)), log_at(file).acting(CREATED):
        raise error
    assert [line["result"] for line in fields(file)] == ["started", result]


def test_interrupted_action_has_no_result_line(file: Path) -> None:
    with pytest.raises(KeyboardInterrupt), log_at(file).acting(CREATED):
        raise KeyboardInterrupt
    assert [line["result"] for line in fields(file)] == ["started"]


def test_note_loses_line_when_file_stays_locked(file: Path) -> None:
    written(file, 1)
    log = log_at(file, max_wait=timedelta(milliseconds=50))
    with lock_file(file).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with capture_logs() as logs:
            log.note(CREATED, audit.Result.SUCCEEDED)
        assert logs[0]["error"] == f"{file} cannot be written: another process keeps it locked"
    log.note(CREATED, audit.Result.SUCCEEDED)
    assert fields(file)[-1]["lost"] == 1


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_reader_with_shared_lock_stops_no_writer(file: Path, lock: Callable[..., None]) -> None:
    written(file, 1)
    log = log_at(file, max_wait=timedelta())
    with file.open() as held:
        lock(held, fcntl.LOCK_SH)
        log.note(CREATED, audit.Result.STARTED, required=True)
    assert len(fields(file)) == 2


@pytest.mark.parametrize("depth", [900, 50_000])
def test_nested_line_stops_neither_verify_nor_writers(file: Path, depth: int) -> None:
    """The line has a valid hash, and Python's parser gives up at its brackets."""
    nested = b'{"seq":2,"prev":null,"x":' + b"[" * depth + b"]" * (depth if depth < 1000 else 0)
    nested += b',"hash":"' + hashlib.sha256(nested).hexdigest().encode() + b'"}\n'
    file.write_bytes(b"".join(written(file, 1)) + nested)
    assert verify([file]).problem is not None
    log_at(file).note(CREATED, audit.Result.SUCCEEDED, required=True)
    assert json.loads(file.read_bytes().splitlines()[-1])["result"] == "succeeded"


def test_any_exception_is_a_lost_line(file: Path) -> None:
    def broken() -> datetime:
        raise RecursionError

    counted: list[str] = []
    log = AuditLog(file, broken)
    log.on_lost = lambda: counted.append("lost")
    with capture_logs() as logs, log.acting(CREATED):
        counted.append("done")
    assert counted == ["lost", "done", "lost"]
    assert [line["event"] for line in logs] == ["audit.lost", "audit.lost"]
    with pytest.raises(AuditError, match="Nothing was changed"), log.acting(CREATED, required=True):
        counted.append("not to be done")
    assert len(counted) == 3


def test_failing_user_database_is_a_lost_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(uid: int) -> None:
        raise OSError("the directory service does not respond")

    monkeypatch.setattr(pwd, "getpwuid", broken)
    person.cache_clear()
    try:
        with capture_logs() as logs, log_at(file).acting(CREATED):
            pass
    finally:
        person.cache_clear()
    assert [(line["event"], line["line"]["result"]) for line in logs] == [
        ("audit.lost", "started"),
        ("audit.lost", "succeeded"),
    ]


def test_old_lines_stay_valid(file: Path) -> None:
    """Results and the field for a truncated line had other names."""
    lines, prev = [], None
    rest = b'{"seq":2,"at"'
    for seq, (result, more) in enumerate([("begun", {}), ("done", {"torn": hashlib.sha256(rest).hexdigest()})], 1):
        content = json.dumps({"seq": seq, "result": result, **more, "prev": prev}, separators=(",", ":")).encode()[:-1]
        prev = hashlib.sha256(content).hexdigest()
        lines += [content + b',"hash":"' + prev.encode() + b'"}\n', rest + b"\n"]
    file.write_bytes(b"".join(lines[:-1]))
    assert (verify([file]).problem, verify([file]).lines) == (None, 2)
    written(file, 1)
    assert (verify([file]).problem, verify([file]).lines) == (None, 3)


# --- several writers, files that are moved away ----------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from datetime import timedelta
from rotator.audit import Act, AuditLog, Entry, Result
log = AuditLog(Path(sys.argv[1]), max_wait=timedelta(minutes=1))
for number in range(40):
    log.note(Entry(Act.CREATE, "shop", "key", sys.argv[2], None), Result.SUCCEEDED)
"""


def test_threads_and_processes_write_one_chain(file: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), f"process-{number}"], stdout=subprocess.DEVNULL)
        for number in range(3)
    ]
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(written, file, 20) for _ in range(4)]:
            one.result()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert verify([file]) == Verdict(200, fields(file)[-1]["hash"], None)


def test_chain_continues_after_log_rotation(file: Path) -> None:
    log = log_at(file)
    written(file, 2)
    moved = file.rename(f"{file}-20261123")
    log.note(CREATED, audit.Result.SUCCEEDED)
    newest = file.rename(f"{file}.1")
    written(file, 1)  # by another process
    assert [line["seq"] for line in fields(newest) + fields(file)] == [3, 4]
    assert verify([moved, newest, file]) == Verdict(4, fields(file)[-1]["hash"], None)
    assert verify([newest, file]).problem == CONTINUES.format(f"{newest}:1", 3)
    assert verify([moved, file]).problem == f"{file}:1 follows on seq 2 with seq 4: the lines between are missing"


def test_next_file_names_truncated_line_of_rotated_file(file: Path) -> None:
    lines = written(file, 2)
    moved = file.rename(f"{file}.1")
    moved.write_bytes(lines[0] + lines[1][:50])
    written(file, 1)
    assert verify([moved, file]).problem is None
    assert verify([moved, file]).notes == (f"{moved}:2 was truncated during its write, as the next line says",)


def test_verify_finds_break_after_immediate_compression(file: Path) -> None:
    first = b"".join(written(file, 2))
    Path(f"{file}.1.gz").write_bytes(gzip.compress(first))
    file.unlink()
    written(file, 1)
    moved = file.with_name("unpacked")
    moved.write_bytes(first)
    assert verify([file]).problem is None
    assert verify([moved, file]).problem == f"{file}:1 starts a new chain: the lines between it and seq 2 are missing"


def test_waiting_writer_uses_the_new_file(file: Path) -> None:
    written(file, 1)
    with lock_file(file).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=written, args=(file, 1))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        moved = file.rename(f"{file}.1")
    waiting.join(60)
    assert [len(fields(one)) for one in (moved, file)] == [1, 1]
    assert verify([moved, file]).problem is None


# --- what it may be given --------------------------------------------------------------------------------------


def test_unwritable_file_is_one_line(tmp_path: Path) -> None:
    link, pipe, foreign = tmp_path / "link", tmp_path / "pipe", tmp_path / "foreign"
    link.symlink_to(tmp_path / "elsewhere")
    os.mkfifo(pipe)
    foreign.write_text("root:x:0:0\n")
    for file, says in [
        (tmp_path / "nowhere" / "audit.jsonl", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (link, "Too many levels of symbolic links"),
        (pipe, "it is not a file"),
        (foreign, "does not end like an audit log"),
    ]:
        with pytest.raises(ConfigError, match=says) as caught:
            AuditLog(file).check()
        assert "Nothing was written anywhere" in str(caught.value)
    assert foreign.read_text() == "root:x:0:0\n"
    assert not (tmp_path / "elsewhere").exists()


def test_log_with_truncated_first_line_can_continue(file: Path) -> None:
    file.write_bytes(written(file, 1)[0][:30])
    AuditLog(file).check()
    written(file, 1)
    assert verify([file]).problem is None


# --- rotations ---------------------------------------------------------------------------------------------------


def audited(file: Path, **world: Any) -> World:
    """A world with one account that rotator knows, and a log that is still empty."""
    made = adopted(**world)
    made.audit = AuditLog(file, made.clock)
    return made


def acts(file: Path) -> list[str]:
    return [f"{line['event']} {line['result']}" for line in fields(file)] if file.exists() else []


WHOLE = [f"{act} {result}" for act in ("create", "publish", "revoke") for result in ("started", "succeeded")]


def test_rotation_has_two_lines_for_each_action(file: Path) -> None:
    world = audited(file, grace=timedelta())
    outcome = rotate(world, instance="host/1/ab")
    assert acts(file) == WHOLE
    lines = fields(file)
    assert {line["rotation_id"] for line in lines} == {outcome.rotation_id}
    assert {line["trigger"] for line in lines} == {"manual"}
    assert {line["actor"]["runner"] for line in lines} == {"host/1/ab"}
    assert world.published
    made = audit.fingerprint("shopkey", world.published)
    assert [line["fingerprint"] for line in lines] == [made] * 4 + [None] * 2
    new, old = world.journal.current_id, outcome.revoked[0]
    assert [line["secret_id"] for line in lines] == [None, new, new, new, old, old]
    assert [line["version"] for line in lines] == [None, None, None, 2, None, None]
    assert world.published not in file.read_text()
    assert verify([file]).problem is None


def test_guessable_values_have_no_fingerprint(file: Path) -> None:
    world = audited(file)
    world.settings = world.settings.model_copy(
        update={"accounts": (world.account.model_copy(update={"secret_length": 21}),)}
    )
    rotate(world)
    assert world.journal.phase is Phase.OVERLAP
    assert {line["fingerprint"] for line in fields(file)} == {None}


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
    file: Path, kind: Any, then_perform: bool, first: list[str], then: list[str]
) -> None:
    world = audited(file, grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), kind, then_perform=then_perform)
    assert acts(file) == first
    world.clock.wait(timedelta(hours=1))
    world.rotation(patience=timedelta(days=1)).run()
    assert acts(file) == first + then
    assert len({line["rotation_id"] for line in fields(file)}) == 1
    assert {line["fingerprint"] for line in fields(file)[len(first) :]} <= {None}, "the value may be of any recipe"


@pytest.mark.parametrize("fault", ["lost-before", "lost-after"])
def test_create_with_lost_answer_is_unknown(file: Path, fault: str) -> None:
    world = audited(file)
    world.provider.fault = fault
    rotate(world)
    repeated = ["create started", "create succeeded"] if fault == "lost-before" else []
    assert acts(file) == ["create started", "create unknown", *repeated, "publish started", "publish succeeded"]


@pytest.mark.parametrize("fault", ["lost-before", "lost-after"])
def test_publication_with_lost_answer_is_found_later(file: Path, fault: str) -> None:
    world = audited(file)
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    rotation = world.rotation()
    run_until(rotation, Publish, then_perform=False)
    world.vault.fault = fault
    with pytest.raises(RotatorError):
        rotation.perform(rotation.decide())
    assert acts(file)[2:] == ["publish started", "publish unknown"]
    world.clock.wait(timedelta(hours=1))
    world.rotation().run()
    again = ["publish started", "publish succeeded"]
    assert acts(file)[4:] == (again if fault == "lost-before" else ["publish confirmed"])


def test_overtaken_rotation_has_no_create_line(file: Path) -> None:
    world = audited(file)
    rotation = world.rotation(fresh_after=world.clock())
    run_until(rotation, Prepare, then_perform=False)
    step = rotation.decide()
    rotate(world)
    before = len(acts(file))
    rotation.perform(step)
    assert acts(file)[before:] == ["create started", "create failed"]


@pytest.mark.parametrize("kind", [Create, Publish, Revoke])
def test_lease_is_checked_after_a_slow_line(file: Path, kind: type[Step]) -> None:
    """Patroni's rule: whatever comes between the look at the lease and the act is taken from the lease."""
    world = audited(file, grace=timedelta())
    delays: list[timedelta] = []

    def slow_clock() -> datetime:
        for delay in delays:
            world.clock.wait(delay)
        return world.clock()

    world.audit = AuditLog(file, slow_clock)
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    rotation = world.rotation()
    run_until(rotation, kind, then_perform=False)
    step, live, published = rotation.decide(), dict(world.live), world.published
    delays.append(rotation.policy.lease)
    rotation.perform(step)
    assert (world.live, world.published) == (live, published)
    assert acts(file)[-2:] == [f"{kind.__name__.lower()} started", f"{kind.__name__.lower()} failed"]


def test_rescue_is_recorded_as_one(file: Path) -> None:
    world = audited(file)
    world.publish("WrongSecret001")
    world.clock.wait(timedelta(hours=1))
    world.rotation().run()
    assert world.published == FIRST
    assert [(line["event"], line["result"], line["trigger"]) for line in fields(file)] == [
        ("publish", "started", "rescue"),
        ("publish", "succeeded", "rescue"),
    ]


def test_adopted_value_has_no_fingerprint(file: Path) -> None:
    world = World(audit=AuditLog(file))
    world.provider.add("shopkey", FIRST)
    Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert [(line["event"], line["result"], line["trigger"]) for line in fields(file)] == [
        ("publish", "started", "adopt"),
        ("publish", "succeeded", "adopt"),
    ]
    assert {line["fingerprint"] for line in fields(file)} == {None}


def test_resolve_is_recorded_before_its_revocation(file: Path) -> None:
    world = answered()
    world.audit = AuditLog(file, world.clock)
    world.provider.add("shopkey", "ByHandSecret01")
    operator = Operator(world.rotation())
    (unknown,) = operator.unknown()
    operator.resolve(frozenset({unknown}))
    assert acts(file) == ["retire started", "retire succeeded", "revoke started", "revoke succeeded"]
    assert {line["secret_id"] for line in fields(file)} == {unknown}
    assert {line["trigger"] for line in fields(file)[:2]} == {"resolve"}


# --- the promise comes first -------------------------------------------------------------------------------------


def test_rotation_does_not_start_when_log_is_unwritable(file: Path) -> None:
    world = audited(file)
    written(file, 1)
    before = world.vault.versions["rotator/journal/shop"][-1]
    with no_room(file):
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
def test_started_rotation_finishes_when_log_is_unwritable(file: Path, kind: Any) -> None:
    world = audited(file, grace=timedelta())
    run_until(world.rotation(fresh_after=world.clock()), kind, then_perform=False)
    world.clock.wait(timedelta(hours=1))
    with no_room(file), capture_logs() as logs:
        world.rotation(patience=timedelta(days=1)).run()
    assert world.journal.phase is Phase.IDLE
    assert world.published != FIRST
    assert list(world.live.values()) == [world.published]
    lost = [line for line in logs if line["event"] == "audit.lost"]
    assert lost
    assert len(fields(file)) + len(lost) >= len(WHOLE)
    world.clock.wait(timedelta(minutes=1))
    rotate(world)
    assert [line["lost"] for line in fields(file) if "lost" in line] == [len(lost)]
    assert verify([file]).problem is None


def test_rescue_happens_when_log_is_unwritable(file: Path) -> None:
    world = World(secondary=True)
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.rotation().run()
    world.audit = AuditLog(file)
    written(file, 1)
    world.provider.secrets["shopkey"].clear()
    world.provider.add("shopkey", "OnlyTheDashboard1")
    world.clock.wait(timedelta(hours=1))
    with no_room(file), capture_logs():
        outcome = world.rotation().run()
    assert outcome.published, outcome
    assert world.consumer_works()


# --- commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def payments(cluster: Cluster, file: Path) -> Payments:
    made = opened(cluster)
    cluster.configure([made.entry()], audit={"file": file}, defaults={"grace": "1h"})
    return made


def test_log_leads_from_leaked_value_to_its_rotation(cluster: Cluster, payments: Payments, file: Path) -> None:
    rotated = cluster.run("rotate-now", "payments", "--json", env={"SUDO_USER": "alice"})
    assert rotated.code == 0, rotated
    assert acts(file) == WHOLE[:4]
    lines = fields(file)
    assert {line["actor"]["sudo_user"] for line in lines} == {"alice"}
    logged = [json.loads(line) for line in rotated.err.splitlines()]
    assert [line["audit"] for line in logged if line["event"] == "audit.recorded"] == [line["hash"] for line in lines]

    leaked = cluster.document(payments.path)["api_secret"]
    asked = cluster.run("audit", "fingerprint", payments.api_key, "--secret-stdin", text=leaked + "\n")
    (rotation_id,) = {line["rotation_id"] for line in lines if line["fingerprint"] == asked.out.strip()}
    assert rotation_id == rotated.json["accounts"][0]["rotation_id"]

    verified = cluster.run("audit", "verify", "--head", lines[-1]["hash"])
    assert (verified.code, verified.out) == (0, f"ok: 4 lines, the last one's hash is {lines[-1]['hash']}\n")
    file.write_text(file.read_text().replace('"manual"', '"schedule"', 1))
    verified = cluster.run("audit", "verify")
    assert (verified.code, verified.out) == (1, f"{file}:1 was changed\n")
    assert cluster.run("audit", "verify", "--json").json == {
        "ok": False,
        "lines": 0,
        "head": None,
        "problem": f"{file}:1 was changed",
        "notes": [],
    }


def test_manual_commands_are_audited(cluster: Cluster, payments: Payments, file: Path) -> None:
    assert cluster.run("rotate-now", "payments", "--compromised").code == 0
    before = len(acts(file))

    added = cluster.run("account", "secrets", "create", "payments", "--out", "new", "--yes", "--json")
    assert added.code == 0, added
    made_up = (cluster.folder / "new").read_text().strip()
    cluster.remember(made_up)
    assert cluster.run("account", "secrets", "revoke", "payments", added.json["id"], "--yes").code == 0
    assert cluster.run("account", "top-up", "payments", "--trx-stdin", "--yes", text="00X123456Y7890123Z").code == 1
    changed = cluster.run("account", "settings", "payments", "--mo-callback-url", "http://127.0.0.1:1/", "--yes")
    assert changed.code == 0, changed

    lines = fields(file)[before:]
    assert [f"{line['event']} {line['result']}" for line in lines] == [
        *("create started", "create succeeded"),
        *("retire started", "retire succeeded"),
        *("revoke started", "revoke succeeded"),
        *("top_up started", "top_up failed"),
        *("callbacks started", "callbacks succeeded"),
    ]
    assert lines[0]["fingerprint"] == audit.fingerprint(payments.api_key, made_up)
    assert {line["secret_id"] for line in lines[1:6]} == {added.json["id"]}
    assert verify([file]).problem is None


def test_unopenable_log_stops_every_changing_command(cluster: Cluster, payments: Payments, tmp_path: Path) -> None:
    nowhere = {"ROTATOR_AUDIT__FILE": str(tmp_path / "nowhere" / "audit.jsonl")}
    assert cluster.run("rotate-now", "payments", "--due").code == 0
    before = payments.live
    for args in (
        ["run"],
        ["rotate-now", "payments"],
        ["adopt", "payments", "--secret-stdin"],
        ["account", "secrets", "create", "payments", "--out", "new", "--yes"],
        ["account", "top-up", "payments", "--trx-stdin", "--yes"],
        ["account", "settings", "payments", "--mo-callback-url", "", "--yes"],
    ):
        refused = cluster.run(*args, env=nowhere, text=payments.first.get_secret_value() + "\n")
        assert refused.code == 2, refused
        assert "cannot be opened for writing: No such file or directory. Nothing was written anywhere." in refused.err
    assert payments.live == before
    assert not (cluster.folder / "new").exists()
    assert cluster.run("status", env=nowhere).code == 0


def test_verify_refuses_a_missing_log(cluster: Cluster, file: Path) -> None:
    cluster.configure([opened(cluster).entry()])
    for args, says in [([], "There is no audit log"), ([str(file)], f"{file} cannot be read: No such file")]:
        found = cluster.run("audit", "verify", *args)
        assert (found.code, found.out) == (2, "")
        assert says in found.err


def test_daemon_keeps_its_log_when_new_one_fails(cluster: Cluster, payments: Payments, file: Path) -> None:
    every = {"every": "3s", "grace": "0s", "jitter": "0s"}
    cluster.configure([payments.entry()], audit={"file": file}, defaults=every)
    with cluster.daemon() as daemon:
        daemon.wait_for("rotation.revoked")
        assert acts(file)[: len(WHOLE)] == WHOLE
        assert {line["trigger"] for line in fields(file)} == {"schedule"}
        cluster.configure([payments.entry()], audit={"file": file.parent / "nowhere" / "x"}, defaults=every)
        refused = daemon.wait_for("config.reload_failed")
        assert "No such file or directory" in refused["error"]
        count = len(daemon.find("rotation.revoked"))
        daemon.wait_for("rotation.revoked", count=count + 1)
        assert len(acts(file)) >= 2 * len(WHOLE)
    assert verify([file]).problem is None
