"""The Account API's secret management as a server with faults to inject; imports errors of rotator.

    with running(Emulator([parse_account("abcd1234:Secret12345")])) as base_url:
        ...

Nothing imports this package unless it is wanted: Starlette and uvicorn come with the `emulator` extra.
"""

from rotator.emulator.app import Emulator, LoggedRequest
from rotator.emulator.faults import Fault, Faults, Operation, parse_fault
from rotator.emulator.problems import (
    InvalidSecretError,
    LastSecretError,
    ProblemError,
    TooManySecretsError,
    UnknownAccountError,
    UnknownSecretError,
)
from rotator.emulator.server import running, serve
from rotator.emulator.state import Account, Primary, parse_account, parse_primary

__all__ = [
    "Account",
    "Emulator",
    "Fault",
    "Faults",
    "InvalidSecretError",
    "LastSecretError",
    "LoggedRequest",
    "Operation",
    "Primary",
    "ProblemError",
    "TooManySecretsError",
    "UnknownAccountError",
    "UnknownSecretError",
    "parse_account",
    "parse_fault",
    "parse_primary",
    "running",
    "serve",
]
