"""A reader who carries out the commands that failures name, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from pydantic import SecretStr

from rotator.config import parse_duration
from rotator.core.protocol import Command
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome, Result
from testkit.model import World


class CannotGoError(Exception):
    """`resolve` was asked to revoke an id that it does not offer."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        args: The command.
        ok: Whether there is nothing left to do.
        code: The failure's code, or the reason of a deferral.
        text: The message.
        next_command: The command that it names.
    """

    args: tuple[str, ...]
    ok: bool
    code: str
    text: str = ""
    next_command: tuple[str, ...] | None = None


@dataclass
class Reader:
    """Does what messages advise, and fails if that makes no progress.

    Attributes:
        world: The account.
        answers: What only a person knows: "ID" and "VALUE".
        done: Every command so far.
    """

    world: World
    answers: Mapping[str, str] = field(default_factory=dict)
    done: list[Ended] = field(default_factory=list)

    def run(self, *args: str) -> Ended:
        """Run one command, as the command line would."""
        try:
            outcome = self._run(args)
        except RotatorError as error:
            command: Command | None = getattr(error, "next_command", None)
            ended = Ended(args, ok=False, code=error.code.value, text=str(error), next_command=_args(command))
        else:
            ended = Ended(
                args,
                ok=outcome.result is Result.OK,
                code=str(outcome.reason),
                text=outcome.error or "",
                next_command=_args(outcome.next_command),
            )
        self.done.append(ended)
        return ended

    def follow(self, *args: str, limit: int = 2) -> list[Ended]:
        """Run a command, then what it advises, until the account is idle.

        Raises:
            AssertionError: If that takes more commands than the limit, or one command is advised twice for one state.
        """
        ended, advised = self.run(*args), set()
        for _ in range(limit):
            if ended.ok:
                break
            assert ended.next_command, f"no command is advised: {ended}"
            case = (self.state, ended.next_command)
            assert case not in advised, f"the same command for the same state: {self}"
            advised.add(case)
            ended = self.run(*ended.next_command)
        assert ended.ok, f"no progress: {self}"
        return self.done

    @property
    def state(self) -> object:
        """What an unchanged account has unchanged."""
        journal = self.world.journal
        changing = {"attempts": 0, "next_attempt_at": None, "last_doubt": None, "last_error": None, "ambiguity": None}
        return replace(journal, **changing), self.world.published, frozenset(self.world.live)

    def __str__(self) -> str:
        return "\n" + "\n".join(map(str, self.done)) + f"\n{self.world.live}\n{self.world.journal}"

    def _run(self, args: tuple[str, ...]) -> Outcome:
        match args:
            case ("rotate-now", _, *options):
                return self._rotate(options)
            case ("adopt", _, *options):
                value, secret_id = SecretStr(self.answers["VALUE"]), None
                if "--secret-id" in options:
                    secret_id = self.answers["ID"]
                retire = set(self.world.live) - {secret_id} if "OTHER_ID" in options else set()
                operator = Operator(self.world.rotation(patience=timedelta(minutes=3)))
                return operator.adopt(value, secret_id, replace_working="--replace" in options, retire=retire)
            case ("resolve", _, *options):
                operator = Operator(self.world.rotation())
                unknown = operator.unknown()
                own_choice = self.answers["ID"] if self.answers["ID"] in unknown else min(unknown, default="")
                named = options[1:] or [own_choice]
                if unknown and not set(named) <= set(unknown):
                    raise CannotGoError(f"{named} of {sorted(unknown)}")
                return operator.resolve(frozenset(named)) if unknown else self.world.rotation().run()
            case ("status", _):
                return self.world.rotation().run()
        raise AssertionError(f"no such command: {args}")

    def _rotate(self, options: list[str]) -> Outcome:
        wait = parse_duration(options[options.index("--wait") + 1]) if "--wait" in options else timedelta(minutes=3)
        due = "--due" in options
        return self._until_done(
            lambda first: self.world.rotation(
                fresh_after=None if due or not first else self.world.clock() + timedelta(microseconds=1),
                force="--force" in options,
                compromised="--compromised" in options,
                patience=wait,
            ).run()
        )

    def _until_done(self, run: object) -> Outcome:
        """A run that waits for its candidate ends, and the command begins another one."""
        outcome = run(True)  # type: ignore[operator]
        while outcome.resume_at is not None:
            self.world.clock.wait(max(outcome.resume_at - self.world.clock(), timedelta()))
            outcome = run(False)  # type: ignore[operator]
        found: Outcome = outcome
        return found


def _args(command: Command | None) -> tuple[str, ...] | None:
    return None if command is None else command.args
