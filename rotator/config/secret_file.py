"""Files and variables with one secret each: bounded reading, and reasons why a value is refused."""

import os
import stat
from pathlib import Path

import structlog

from rotator.errors import ConfigError

MAX_SECRET_BYTES = 64 * 1024
"""Most bytes of a file with a secret. Tokens and JWTs have a few thousand."""
_log = structlog.get_logger()


def shown_name(file: Path) -> str:
    """Return a file's name, or words in its place if it can be a secret that stands where the name belongs."""
    is_name = os.path.exists(file) or (len(file.parts) > 1 and os.path.isdir(file.parent))
    return str(file) if file.is_absolute() or is_name else "the named file"


def shown_variable(name: str) -> str:
    """Return a variable's name, or words in its place if it can be a secret that stands where the name belongs."""
    return name if name in os.environ else "a variable that is not set"


def read_secret_file(file: Path) -> str:
    """Return the one line of text in a file, without byte-order mark and line ending.

    Raises:
        ConfigError: If the file is no regular file, is too big, cannot be read, or contains no single line.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without a wait for a FIFO's writer
        try:
            refuse_endless(file, os.fstat(descriptor))
            text = os.read(descriptor, MAX_SECRET_BYTES).decode("utf-8-sig")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{shown_name(file)} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} cannot be read: its text is not UTF-8") from None
    return one_line(text, str(file))


def refuse_endless(file: Path, status: os.stat_result) -> None:
    """Refuse what is no regular file, such as a FIFO or a device, and a file that is too big for a secret.

    Raises:
        ConfigError: If it is one of them.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{file} is not a regular file")
    if status.st_size > MAX_SECRET_BYTES:
        raise ConfigError(f"{file} is too big for a secret: {status.st_size} bytes of at most {MAX_SECRET_BYTES}")


def one_line(text: str, source: str) -> str:
    """Return a secret without its line ending.

    Args:
        source: Name of the file or variable.

    Raises:
        ConfigError: If the secret is empty or too long, has several lines or invisible characters, or has blanks or
            quotes around it.
    """
    value = text.removeprefix("\ufeff").rstrip("\r\n")
    reason = None
    if not value.strip():
        reason = "The value is empty"
    elif value.splitlines() != [value]:
        reason = "The value has more than one line"
    elif value != value.strip():
        reason = "The value has blanks around it: remove them"
    elif len(value) > MAX_SECRET_BYTES:
        reason = "The value is too long for a secret"
    elif not value.isprintable():
        reason = "The value contains an invisible character"
    elif len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        reason = "The value has quotes around it: remove them"
    if reason is not None:
        raise ConfigError(f"{source}: {reason}")
    return value


def warn_of_permissions(file: Path, *, readable: bool = False) -> None:
    """Log a warning if every user of the machine can write a file.

    Args:
        file: The file. If it does not exist, nothing is logged.
        readable: Whether to warn as well if every user can read it.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if mode & (stat.S_IWOTH | (stat.S_IROTH if readable else 0)):
        able = "write" if mode & stat.S_IWOTH else "read"
        _log.warning(
            "file.permissions_too_open",
            file=str(file),
            mode=f"{mode:04o}",
            reason=f"Every user of this machine can {able} the file",
            next_step=f"chmod o= {file}",
        )
