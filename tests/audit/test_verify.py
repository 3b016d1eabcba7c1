"""No change of an audit log goes unnoticed."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator import audit
from rotator.audit.verify import Verdict, verify
from rotator.errors import ConfigError
from tests.audit.harness import CREATED, fields, log_at, problem, written


def test_verify_accepts_an_unchanged_log(audit_file: Path) -> None:
    written(audit_file, 5)
    assert verify([audit_file]) == Verdict(5, fields(audit_file)[-1]["hash"], None)


@pytest.mark.parametrize("edit", ["delete", "swap", "repeat"])
def test_verify_names_missing_moved_or_repeated_line(audit_file: Path, edit: str) -> None:
    lines = written(audit_file, 6)
    if edit == "delete":
        del lines[2:4]
        assert (
            problem(audit_file, lines) == f"{audit_file}:3 follows on seq 2 with seq 5: the lines between are missing"
        )
    elif edit == "swap":
        lines[2], lines[3] = lines[3], lines[2]
        assert problem(audit_file, lines) == (f"{audit_file}:3 is out of order: seq 4 after 2, and seq 3 comes later")
    else:
        lines.insert(3, lines[2])
        assert problem(audit_file, lines) == f"{audit_file}:4 is out of order: seq 3 after 3"


def test_verify_names_a_rewritten_line(audit_file: Path) -> None:
    lines = written(audit_file, 3)
    content = lines[1].rpartition(b',"hash":"')[0].replace(b'"shop"', b'"else"')
    lines[1] = content + b',"hash":"' + hashlib.sha256(content).hexdigest().encode() + b'"}\n'
    assert (
        problem(audit_file, lines)
        == f"{audit_file}:3 does not follow from the previous line: one of the two was replaced"
    )


CONTINUES = (
    "{} continues another file (seq {}): the lines before it are missing. Name that file first, or the hash of its "
    "last line with --from, as the ordinary log has it"
)


def test_verify_refuses_log_without_its_beginning(audit_file: Path) -> None:
    lines = written(audit_file, 4)
    hashes = [line["hash"] for line in fields(audit_file)]
    assert problem(audit_file, lines[-1:], hashes[-1]) == CONTINUES.format(f"{audit_file}:1", 4)
    assert verify([audit_file], start=hashes[2]).problem is None
    assert (
        verify([audit_file], start=hashes[1]).problem
        == f"{audit_file}:1 does not follow the line with the hash {hashes[1]}"
    )
    assert problem(audit_file, lines) is None
    assert (
        verify([audit_file], start=hashes[1]).problem
        == f"{audit_file}:1 does not follow the line with the hash {hashes[1]}"
    )
    audit_file.write_bytes(b"")
    assert "all lines were removed" in str(verify([audit_file], start=hashes[3]).problem)


@pytest.mark.parametrize("text", ["", "xyz", "9f86d081", "g" * 64, "a" * 65])
def test_verify_refuses_text_that_is_no_hash(audit_file: Path, text: str) -> None:
    audit_file.touch()
    for option, hashes in (("--head", {"head": text}), ("--from", {"start": text})):
        with pytest.raises(ConfigError, match=rf"^{option}: a hash has 64 hexadecimal digits"):
            verify([audit_file], **hashes)


def test_verify_ends_when_a_file_does_not() -> None:
    """A device has no line break. Without a bound for lines, it would fill the memory."""
    assert verify([Path("/dev/zero")]).problem == "/dev/zero:1 was changed"


def test_verify_with_head_finds_a_cut_end(audit_file: Path) -> None:
    lines = written(audit_file, 4)
    head = json.loads(lines[-1])["hash"]
    assert problem(audit_file, lines, head) is None
    assert problem(audit_file, lines[:2]) is None, "the file alone cannot tell"
    found = problem(audit_file, lines[:2], head)
    assert found == f"no line has the hash {head}: the lines after seq 2 were removed, or it belongs to another log"
    assert "all lines" in str(problem(audit_file, [], head))


@given(st.data())
def test_verify_finds_any_changed_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    content = bytearray(b"".join(written(file, 3)))
    place = data.draw(st.integers(0, len(content) - 2))  # the last line's end is no part of what it says
    changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    content[place] = changed
    assert problem(file, [bytes(content)]) is not None


def test_verify_finds_foreign_text_anywhere(audit_file: Path) -> None:
    lines = written(audit_file, 2)
    for place in range(3):
        edited = [*lines[:place], b'{"seq":7}\n', *lines[place:]]
        assert problem(audit_file, edited) == f"{audit_file}:{place + 1} was changed"


@pytest.mark.parametrize("left", [1, 40, 200])
def test_chain_continues_after_a_truncated_line(audit_file: Path, left: int) -> None:
    lines = written(audit_file, 3)
    audit_file.write_bytes(b"".join(lines[:2]) + lines[2][:left])
    assert verify([audit_file]).problem == (
        f"{audit_file}:3 is truncated: its writer died, or a person cut it. The next line will say which"
    )
    log_at(audit_file).note(CREATED, audit.Result.SUCCEEDED)
    verdict = verify([audit_file])
    assert (verdict.problem, verdict.lines) == (None, 3)
    assert verdict.notes == (f"{audit_file}:3 was truncated during its write, as the next line says",)
    assert problem(
        audit_file, audit_file.read_bytes().splitlines(keepends=True)[:2] + audit_file.read_bytes().splitlines(True)[3:]
    ) == (f"a truncated line before {audit_file}:3 is missing")


def test_line_without_its_break_is_valid(audit_file: Path) -> None:
    lines = written(audit_file, 2)
    audit_file.write_bytes(b"".join(lines).removesuffix(b"\n"))
    assert verify([audit_file]).problem is None
    log_at(audit_file).note(CREATED, audit.Result.SUCCEEDED)
    assert verify([audit_file]) == Verdict(3, fields(audit_file)[-1]["hash"], None)


@pytest.mark.parametrize("depth", [900, 50_000])
def test_nested_line_stops_neither_verify_nor_writers(audit_file: Path, depth: int) -> None:
    """The line has a valid hash, and Python's parser gives up at its brackets."""
    nested = b'{"seq":2,"prev":null,"x":' + b"[" * depth + b"]" * (depth if depth < 1000 else 0)
    nested += b',"hash":"' + hashlib.sha256(nested).hexdigest().encode() + b'"}\n'
    audit_file.write_bytes(b"".join(written(audit_file, 1)) + nested)
    assert verify([audit_file]).problem is not None
    log_at(audit_file).note(CREATED, audit.Result.SUCCEEDED, required=True)
    assert json.loads(audit_file.read_bytes().splitlines()[-1])["result"] == "succeeded"


def test_old_lines_stay_valid(audit_file: Path) -> None:
    """Results and the field for a truncated line had other names."""
    lines, prev = [], None
    rest = b'{"seq":2,"at"'
    for seq, (result, more) in enumerate([("begun", {}), ("done", {"torn": hashlib.sha256(rest).hexdigest()})], 1):
        content = json.dumps({"seq": seq, "result": result, **more, "prev": prev}, separators=(",", ":")).encode()[:-1]
        prev = hashlib.sha256(content).hexdigest()
        lines += [content + b',"hash":"' + prev.encode() + b'"}\n', rest + b"\n"]
    audit_file.write_bytes(b"".join(lines[:-1]))
    assert (verify([audit_file]).problem, verify([audit_file]).lines) == (None, 2)
    written(audit_file, 1)
    assert (verify([audit_file]).problem, verify([audit_file]).lines) == (None, 3)


def test_chain_continues_after_log_rotation(audit_file: Path) -> None:
    log = log_at(audit_file)
    written(audit_file, 2)
    moved = audit_file.rename(f"{audit_file}-20261123")
    log.note(CREATED, audit.Result.SUCCEEDED)
    newest = audit_file.rename(f"{audit_file}.1")
    written(audit_file, 1)  # by another process
    assert [line["seq"] for line in fields(newest) + fields(audit_file)] == [3, 4]
    assert verify([moved, newest, audit_file]) == Verdict(4, fields(audit_file)[-1]["hash"], None)
    assert verify([newest, audit_file]).problem == CONTINUES.format(f"{newest}:1", 3)
    assert (
        verify([moved, audit_file]).problem
        == f"{audit_file}:1 follows on seq 2 with seq 4: the lines between are missing"
    )


def test_next_file_names_truncated_line_of_rotated_file(audit_file: Path) -> None:
    lines = written(audit_file, 2)
    moved = audit_file.rename(f"{audit_file}.1")
    moved.write_bytes(lines[0] + lines[1][:50])
    written(audit_file, 1)
    assert verify([moved, audit_file]).problem is None
    assert verify([moved, audit_file]).notes == (f"{moved}:2 was truncated during its write, as the next line says",)


def test_verify_finds_break_after_immediate_compression(audit_file: Path) -> None:
    first = b"".join(written(audit_file, 2))
    Path(f"{audit_file}.1.gz").write_bytes(gzip.compress(first))
    audit_file.unlink()
    written(audit_file, 1)
    moved = audit_file.with_name("unpacked")
    moved.write_bytes(first)
    assert verify([audit_file]).problem is None
    assert (
        verify([moved, audit_file]).problem
        == f"{audit_file}:1 starts a new chain: the lines between it and seq 2 are missing"
    )
