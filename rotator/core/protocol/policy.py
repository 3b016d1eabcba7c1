"""Rules and limits of one run."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.core.protocol.journal import Trigger


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules and limits of one run.

    Attributes:
        instance: The instance; unique to a process.
        account: The account's name, for messages.
        lease: How long a lease lasts.
        api_key: The account's key; None: rotator compares no document with it.
        due_at: Maps the time a secret was published to the time it is due. None: the schedule begins no rotation.
        begins: Whether a rotation may begin, by the schedule or by a recorded request. An unfinished one continues, and
            an outage is ended, in any case.
        explicit: A person named this account: backoff is ignored.
        revoke: Whether anything may be revoked; otherwise it stays recorded for a later run.
        trigger: Why the schedule would begin a rotation.
        has_primary: Whether a primary account may act for this one.
        grace: How long a replaced secret keeps working.
        verify_timeout: How long a candidate may take until it authenticates.
        max_secrets: The maximum number of secrets of the account.
        request_timeout: The maximum duration of one request to the provider.
        window: The consistency window: how long the provider may contradict itself. Within it, a timed-out request
            might be carried out, a valid secret refused, and a list lack an id or show a revoked one.
    """

    instance: str
    account: str
    lease: timedelta
    api_key: str | None = None
    due_at: Callable[[datetime], datetime] | None = None
    begins: bool = True
    explicit: bool = False
    revoke: bool = True
    trigger: Trigger = Trigger.SCHEDULE
    has_primary: bool = False
    grace: timedelta = timedelta(hours=24)
    verify_timeout: timedelta = timedelta(minutes=5)
    max_secrets: int = 2
    request_timeout: timedelta = timedelta(seconds=10)
    window: timedelta = timedelta(seconds=30)
