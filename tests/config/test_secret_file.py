"""Files and variables with one secret each."""

import os
from pathlib import Path

import pytest
import structlog

from rotator.config import MAX_SECRET_BYTES, one_line, read_secret_file, warn_of_permissions
from rotator.errors import ConfigError

SECRET = "Abcdefgh12"


@pytest.mark.parametrize("raw", [b"Abcdefgh12", b"Abcdefgh12\n", b"Abcdefgh12\r\n", b"\xef\xbb\xbfAbcdefgh12\n"])
def test_read_secret_file_returns_the_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "secret").write_bytes(raw)
    assert read_secret_file(tmp_path / "secret") == SECRET


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "The value is empty"),
        (b" \n", "The value is empty"),
        (b" Abcdefgh12", "The value has blanks around it"),
        (b"Abcdefgh12 \n", "The value has blanks around it"),
        (b'"Abcdefgh12"\n', "The value has quotes around it"),
        (b"'Abcdefgh12'", "The value has quotes around it"),
        (b"Abcdefgh12\nAbcdefgh12\n", "The value has more than one line"),
        (b"Abcdefgh12\x0bx", "The value has more than one line"),
        (b"Abcdefgh12\0", "The value contains an invisible character"),
        ("\u200bAbcdefgh12".encode(), "The value contains an invisible character"),
        ("Abcdefgh12".encode("utf-16"), "cannot be read: its text is not UTF-8"),
        (b"A" * (MAX_SECRET_BYTES + 1), "is too big for a secret"),
    ],
)
def test_read_secret_file_refuses_other_text(tmp_path: Path, raw: bytes, reason: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_secret_file(file)
    assert str(caught.value).startswith(str(file))
    assert reason in str(caught.value)
    assert SECRET not in str(caught.value)


def test_read_secret_file_refuses_endless_files_at_once(tmp_path: Path) -> None:
    """A reader of the FIFO would wait for a writer, a reader of the device for its end."""
    os.mkfifo(tmp_path / "fifo")
    for file in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_secret_file(file)


def test_secret_instead_of_file_name_is_hidden() -> None:
    with pytest.raises(ConfigError, match=r"^the named file cannot be read: No such file or directory\.$") as caught:
        read_secret_file(Path(SECRET))
    assert SECRET not in str(caught.value)


def test_one_line_refuses_an_endless_value() -> None:
    with pytest.raises(ConfigError, match="Standard input: The value is too long for a secret"):
        one_line("A" * (MAX_SECRET_BYTES + 2), "Standard input")


def test_one_line_keeps_a_single_quote() -> None:
    assert one_line('"', "X") == '"'
    assert one_line('Abc"', "X") == 'Abc"'


@pytest.mark.parametrize(
    ("mode", "readable", "able"),
    [(0o600, True, None), (0o640, True, None), (0o644, False, None), (0o644, True, "read"), (0o622, False, "write")],
)
def test_warn_of_permissions_names_open_files(tmp_path: Path, mode: int, readable: bool, able: str | None) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    with structlog.testing.capture_logs() as logs:
        warn_of_permissions(file, readable=readable)
        warn_of_permissions(tmp_path / "missing", readable=readable)
    assert [(log["event"], log["mode"], log["reason"]) for log in logs] == (
        [("file.permissions_too_open", f"{mode:04o}", f"Every user of this machine can {able} the file")]
        if able
        else []
    )
