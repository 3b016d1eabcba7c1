"""One account and everything that happens to it: the servers, the configuration, commands and people."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog
from pydantic import SecretStr

from rotator.config import AccountSettings, Settings
from rotator.core.protocol import Journal
from rotator.documents import parse_journal
from rotator.fleet import Fleet, fleet
from rotator.fleet import Request as Asked
from rotator.provider import WORST_CASE
from rotator.rotation import Rotation, creation
from testkit.model import START, Clock, ModelVault
from tests.system.courses.commands import Ended, carry_out
from tests.system.courses.desk import Desk, Held
from tests.system.courses.events import Event, Passing, Person, Pick, Release, Run, Trouble, Troubled, shown
from tests.system.courses.judge import Judge
from tests.system.courses.person import act
from tests.system.courses.provider import TroubledProvider

API_KEY = "shopkey"
FIRST = "FirstSecret001"
PARENT = "ParentSecret001"
FIELD, OTHER_FIELD = "api_secret", "NEXMO_API_SECRET"
_PLACES = (Pick.OLDEST, Pick.SECOND, Pick.THIRD)
_SILENT = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


class _Stop(threading.Event):
    """The end of a process that never comes. Time passes while a run waits for it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        """Let time pass."""
        self._clock.wait(timedelta(seconds=timeout or 0))
        return False


class _CourseFleet(Fleet):
    """The fleet of one process of a course."""

    def __init__(self, course: "Course", desk: Desk) -> None:
        super().__init__(course.settings, desk, desk, _Stop(course.clock))  # type: ignore[arg-type]
        self.instance = desk.actor
        self._course_clock = course.clock

    def now(self) -> datetime:  # type: ignore[override]
        """The time of the course."""
        return self._course_clock()

    def rotation(self, account: AccountSettings, request: Asked, **options: Any) -> Rotation:
        """Return a run that logs nothing: thousands of courses are played."""
        rotation = super().rotation(account, request, **options)
        rotation.state.log = _SILENT
        return rotation


@dataclass
class Course:
    """What happens to one account.

    Attributes:
        grace: Its grace period.
        max_secrets: How many secrets it can have.
        secondary: Whether it has a primary account.
        happened: Every event so far, for a person who reads a failure.
        held: Requests that are held up on their way.
        added: Values that a person added in the dashboard.
    """

    grace: timedelta = timedelta(minutes=5)
    max_secrets: int = 2
    secondary: bool = False
    clock: Clock = field(default_factory=Clock)
    happened: list[str] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    field_name: str = FIELD
    depth: int = 0

    def __post_init__(self) -> None:
        self.provider = TroubledProvider(self.clock, self.max_secrets)
        self.vault = ModelVault(self.clock)
        self._numbers = count(1)
        self._processes = count(1)
        self._values = count(1)
        self.rested: dict[str, datetime] = {}
        self.provider.add(API_KEY, FIRST)
        if self.secondary:
            self.provider.add("parentkey", PARENT)
            self.provider.primaries[API_KEY] = "parentkey"
            self.vault.write("apps/parent", {"api_secret": PARENT}, cas=0)
        self.settings = self._settings()
        self.provider.request_timeout = self.settings.account_api.timeout * WORST_CASE
        self.provider.settle = self.settings.account_api.consistency_window
        self.judge = Judge(self)
        self.write_by_hand({FIELD: FIRST})

    def _settings(self) -> Settings:
        account: dict[str, Any] = {
            "name": "shop",
            "api_key": API_KEY,
            "path": "apps/shop",
            "grace": self.grace,
            "every": timedelta(days=3),
            "jitter": timedelta(),
            "fields": {"api_secret": self.field_name},
        }
        accounts = [account]
        if self.secondary:
            account["primary"] = "parent"
            accounts.append({"name": "parent", "api_key": "parentkey", "path": "apps/parent"})
        vault = {"address": "http://127.0.0.1:1", "auth": {"token": "model-token-0001"}}
        api = {"max_secrets": self.max_secrets, "consistency_window": "30s"}
        return Settings.model_validate({"vault": vault, "account_api": api, "accounts": accounts})

    # --- looking ---------------------------------------------------------------------------------------------------

    @property
    def account(self) -> AccountSettings:
        return self.settings.accounts[0]

    @property
    def journal_path(self) -> str:
        return self.settings.journal_path(self.account)

    @property
    def journal(self) -> Journal:
        return parse_journal(self.vault.peek(self.journal_path))

    @property
    def version(self) -> int:
        """The newest version of the published document."""
        return len(self.vault.versions.get(self.account.path, []))

    @property
    def published(self) -> str | None:
        """The value that consumers read."""
        value = (self.vault.peek(self.account.path).data or {}).get(self.field_name)
        return value if isinstance(value, str) and value else None

    @property
    def live(self) -> dict[str, str]:
        """The live secrets: id to value, oldest first."""
        return {id_: value for id_, (value, _) in self.provider.secrets[API_KEY].items()}

    @property
    def works(self) -> bool:
        """Whether consumers authenticate."""
        return self.published is not None and self.provider.authenticates(API_KEY, self.published)

    def ids_of(self, value: str | None) -> frozenset[str]:
        """Return the live ids of a value."""
        return frozenset(id_ for id_, live in self.live.items() if live == value)

    def value_of(self, pick: Pick) -> str | None:
        """Return the value that a person means."""
        live = list(self.live.values())
        match pick:
            case Pick.NONE:
                return None
            case Pick.PUBLISHED:
                return self.published
            case Pick.REPLACED:
                return next((value for value in reversed(self.judge.published_values) if value != self.published), None)
            case Pick.CANDIDATE:
                candidate = self.journal.candidate
                return candidate.get_secret_value() if candidate is not None else None
            case Pick.ADDED:
                return next((value for value in reversed(self.added) if value in live), None)
        at = _PLACES.index(pick)
        return live[at] if at < len(live) else None

    def id_of(self, pick: Pick) -> str | None:
        """Return the id of the value that a person means."""
        if pick in _PLACES:
            return next(iter(list(self.live)[_PLACES.index(pick) :]), None)
        return max(self.ids_of(self.value_of(pick)), default=None)

    # --- doing -----------------------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """Return a number that grows with everything that happens."""
        return next(self._numbers)

    def new_value(self, kind: str) -> str:
        """Return a value that was never used."""
        return f"{kind}{next(self._values):03}"

    def hold(self, held: Held) -> None:
        """Hold a request up."""
        self.held.append(held)

    def write_by_hand(self, data: dict[str, Any]) -> None:
        """Write the published document as a person does."""
        self.vault.write(self.account.path, data, cas=self.version)
        self.judge.look("person", None)

    def rename_field(self) -> None:
        """Change the name of the field in the configuration, or change it back, while no process runs with it."""
        if self.depth > 1:
            return
        self.field_name = OTHER_FIELD if self.field_name == FIELD else FIELD
        self.settings = self._settings()
        self.judge.look("person", None)

    def fleet(self, desk: Desk) -> Fleet:
        """Return the fleet of a new process."""
        return _CourseFleet(self, desk)

    def desk(self, run: Run) -> Desk:
        """Return the connections of a new process."""
        return Desk(self, f"{run.verb.value}#{next(self._processes)}", run.moments)

    def play(self, event: Event) -> Ended | None:
        """Let an event happen."""
        self.happened.append(f"{'  ' * self.depth}{shown(event)}")
        self.depth += 1
        try:
            return self._happen(event)
        finally:
            self.depth -= 1

    def play_all(self, *events: Event) -> None:
        """Let events happen."""
        for event in events:
            self.play(event)

    def _happen(self, event: Event) -> Ended | None:
        match event:
            case Run():
                ended = carry_out(self, event)
                self.happened.append(f"{'  ' * self.depth}-> {ended}")
                return ended
            case Person():
                act(self, event)
                self.judge.look("person", None)
            case Passing():
                self.clock.wait(event.time)
            case Release():
                if self.held:
                    self.held.pop(event.number % len(self.held)).release(self.clock())
            case Troubled():
                self._trouble(event)
        return None

    def _trouble(self, event: Troubled) -> None:
        provider = self.provider
        match event.trouble:
            case Trouble.LISTS_LAG:
                provider.lags = event.time
            case Trouble.LISTS_SHOW:
                provider.shows = event.time
            case Trouble.SLOW:
                provider.slowness = event.time
            case Trouble.LISTS_LACK:
                id_ = self.id_of(event.pick)
                now = self.clock()
                if id_ is not None and self.rested.get(id_, now) <= now:
                    provider.lacking[id_] = now + event.time
                    self.rested[id_] = now + event.time + 3 * provider.settle

    @property
    def seconds(self) -> float:
        """The time, as a monotonic clock tells it."""
        return (self.clock() - START).total_seconds()

    def patched(self) -> AbstractContextManager[Any]:
        """New values and names are numbers meanwhile, and time is the course's: a course is the same each time."""
        rotations = count(1)
        with ExitStack() as stack:
            stack.enter_context(patch.object(creation, "generate", self._generate))
            stack.enter_context(patch.object(fleet, "time", SimpleNamespace(monotonic=lambda: self.seconds)))
            names = SimpleNamespace(token_hex=lambda _: f"rotation-{next(rotations)}")
            stack.enter_context(patch.object(creation, "secrets", names))
            return stack.pop_all()

    def _generate(self, _: object) -> SecretStr:
        return SecretStr(self.new_value("Candidate"))

    def __str__(self) -> str:
        shown: Callable[[datetime | None], str] = str
        lines = [*self.happened, f"live {self.live}", f"published {self.published}", f"now {shown(self.clock())}"]
        return "\n".join(["", *lines, str(self.journal)])
