"""The provider's Account API as a server with faults to inject.

    with running(Emulator([parse_account("abcd1234:Secret12345")])) as base_url:
        ...

Nothing imports this package unless it is wanted: Starlette and uvicorn come with the `emulator` extra.
"""

from rotator.emulator.accounts import Account, Primary, parse_account, parse_primary
from rotator.emulator.app import Emulator
from rotator.emulator.control import LoggedRequest
from rotator.emulator.faults import Fault, Faults, parse_fault
from rotator.emulator.history import History, listed
from rotator.emulator.limits import Limit, parse_limit
from rotator.emulator.operations import Operation
from rotator.emulator.problems import (
    InvalidSecretError,
    LastSecretError,
    ProblemError,
    TooManySecretsError,
    UnknownAccountError,
    UnknownSecretError,
)
from rotator.emulator.profiles import Profile, parse_euros
from rotator.emulator.revisions import Revision
from rotator.emulator.server import running, serve

__all__ = [
    "Account",
    "Emulator",
    "Fault",
    "Faults",
    "History",
    "InvalidSecretError",
    "LastSecretError",
    "Limit",
    "LoggedRequest",
    "Operation",
    "Primary",
    "ProblemError",
    "Profile",
    "Revision",
    "TooManySecretsError",
    "UnknownAccountError",
    "UnknownSecretError",
    "listed",
    "parse_account",
    "parse_euros",
    "parse_fault",
    "parse_limit",
    "parse_primary",
    "running",
    "serve",
]
