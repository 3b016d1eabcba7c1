"""The command that continues a run which ended early."""

from rotator.core.failures import CHECK
from rotator.core.protocol import Request, RequestKind
from rotator.errors import Advice, Blame, Code, Command
from rotator.rotation.state import AccountState

_OPTIONS = {RequestKind.MANUAL: (), RequestKind.FORCE: ("--force",), RequestKind.COMPROMISED: ("--compromised",)}
# For another instance's lease.
_WAIT = ("--wait", "5m")


def continuation(state: AccountState) -> Command:
    """Return the command that continues this run.

    It repeats a request that the journal does not contain yet, and finishes an unfinished rotation without regard to
    the backoff. It never begins a rotation without a request: once a new secret is published, only what is due is
    left.
    """
    name = state.account.name
    asked = state.seen.request
    if asked is not None and not state.seen.rotated:
        return repetition(name, asked)
    if state.journal.candidate is not None and not is_new_secret_published(state):
        return Command.of("rotate-now", name)
    return Command.of("rotate-now", name, "--due", *_WAIT)


def is_new_secret_published(state: AccountState) -> bool:
    """Return whether this run published the new secret, or an earlier run did and did not record it."""
    return state.seen.rotated or state.situation.candidate_published


def repetition(name: str, request: Request) -> Command:
    """Return the command that makes the same request again."""
    return Command.of("rotate-now", name, *_OPTIONS[request.kind])


def advice_for(code: Code, state: AccountState) -> Advice | None:
    """Return the advice for a failure of this run that names no command of its own."""
    if code.blame is Blame.PROVIDER or code is Code.CONFLICT:
        return Advice("To retry now", continuation(state))
    if code.advice is CHECK:
        return Advice(CHECK.purpose, Command.of("check", state.account.name))
    return None
