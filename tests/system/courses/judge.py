"""The judge of a course: it knows the values and who did what, and believes nothing that rotator remembers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.system.courses.desk import Desk
from tests.system.courses.events import Pick, Run
from tests.system.courses.wishes import Wishes

if TYPE_CHECKING:
    from tests.system.courses.commands import Ended

_MARGIN = timedelta(seconds=1)


@dataclass
class Judge(Wishes):
    """Follows a course and fails when something does not hold.

    Attributes:
        left: When a value was last replaced.
        named_ids: Ids that a person named for revocation.
    """

    left: dict[str, datetime] = field(default_factory=dict)
    named_ids: set[str] = field(default_factory=set)
    removed_values: set[str] = field(default_factory=set)
    readded_values: set[str] = field(default_factory=set)
    taken_up: set[str | None] = field(default_factory=set)  # values that rotator's rotations have replaced
    created_values: set[str] = field(default_factory=set)
    given_up_ids: set[str] = field(default_factory=set)  # the published secret's own, which a person had retired
    claimed_ids: set[str] = field(default_factory=set)  # ids that a person gave for a published value
    _working: set[int] = field(default_factory=set)  # places in published_values that worked when a process read them
    _since: tuple[int, str] = (0, "person")  # when the published value began to be published, and by whom
    _last: str | None = None
    _worked: bool = True
    _adopting: dict[str, tuple[str | None, bool]] = field(default_factory=dict)

    # --- the promise -------------------------------------------------------------------------------------------------

    def look(self, actor: str, desk: Desk | None) -> None:
        """Look at what consumers read, after something changed."""
        value = self.course.published
        if value != self._last:
            if self._last is not None:
                self.left[self._last] = self.course.clock()
            if value is not None and self._last not in self.course.live.values():
                self.published_in_place(value)
            if value is not None and value not in self.published_values[-1:]:
                self.published_values.append(value)
            self._since = self.course.next_number(), actor
            self._last = value
        works = self.course.works
        if works and value is not None and desk is not None:
            self._working.add(len(self.published_values) - 1)
        if not works and self._worked and desk is not None and not self._broken_by_person(desk):
            self.fail(f"I1: {actor} broke what consumers read")
        self._worked = works

    def read(self, desk: Desk, *, first: bool) -> None:
        """A command read the published document."""
        super().read(desk, first=first)
        if self.course.published is not None and self.course.works:
            self._working.add(len(self.published_values) - 1)

    def _broken_by_person(self, desk: Desk) -> bool:
        """Whether a person took the value away, or published it when a process could not know that any more."""
        number, actor = self._since
        raced = actor == "person" and number > desk.looked_at
        value = self.course.published
        if value in self.readded_values and value in self.course.live.values():
            return True  # it authenticates in a moment
        return raced or value is None or value in self.removed_values - self.readded_values

    def removed(self, value: str) -> None:
        """A person removed a secret in the dashboard."""
        self.removed_values.add(value)
        self.readded_values.discard(value)

    def returned(self, value: str) -> None:
        """A person added a value again: that is the person's own deed."""
        self.readded_values.add(value)
        self.let_go(value)

    # --- the published document --------------------------------------------------------------------------------------

    def by_hand(self, before: str | None) -> None:
        """A person wrote the published document."""
        value = self.course.published
        if value is not None and value != before:
            self.let_go(value)
        if value is not None and value == self.course.value_of(Pick.CANDIDATE):
            self.taken_up |= {before, self.replacing.get(value)} - {
                None
            }  # the person does what the rotation in hand would have done

    def published(self, desk: Desk, before: str | None) -> None:
        """Rotator wrote the published document."""
        value = self.course.published
        if value is not None and value != before:
            adopted, replaces = self._adopting.get(desk.actor, (None, False))
            by_person = value == adopted and replaces
            if by_person:
                self.let_go(value)
            elif self._is_leaked(value) and not self._ends_outage_only(before, value):
                self.fail(f"compromised: {desk.actor} published {value} again")
            if value in self.created_values and value != adopted:
                self.taken_up |= {before, self.replacing.get(value)} - {None}
        self.look(desk.actor, desk)

    def _is_leaked(self, value: str) -> bool:
        return any(leak.value == value and leak.recorded and leak.sure for leak in self.leaks)

    def _ends_outage_only(self, before: str | None, value: str) -> bool:
        """Whether a value that does not work took a leaked one's place: the request that waits comes after the outage.

        What has replaced the leaked value by a value that works stays.
        """
        replaced = _last_index(self.published_values, value) + 1 if value in self.published_values else 0
        return before not in self.course.live.values() and not self._worked_since(replaced)

    def _worked_since(self, index: int) -> bool:
        """Whether a value worked at this place or later, as far as a process could know."""
        return any(place >= index for place in self._working)

    def adopts(
        self, desk: Desk, value: str | None, id_: str | None, retired: frozenset[str], *, replaces: bool
    ) -> None:
        """A person brings a value, and perhaps an id, which can be wrong."""
        self._adopting[desk.actor] = value, replaces
        if id_ is None:
            return
        self.claimed_ids.add(id_)
        own = self.course.ids_of(value)
        if own != {id_} and id_ not in self._answered():
            self.given_up_ids |= own & retired  # twice wrong, and nothing says so

    def _answered(self) -> frozenset[str]:
        """Return the ids that the provider answered for other values, as far as rotator recorded them."""
        journal = self.course.journal
        answered = {entry.id for entry in journal.retiring if entry.identity is not None and entry.identity.is_answered}
        return journal.added_ids | answered

    # --- revocations -------------------------------------------------------------------------------------------------

    def created(self, desk: Desk, id_: str, value: str) -> None:
        """Rotator created a secret."""
        del desk, id_
        self.created_values.add(value)

    def named(self, ids: frozenset[str]) -> None:
        """A person named ids for revocation."""
        self.named_ids |= ids

    def revokes(self, desk: Desk, id_: str, looked_at: int) -> None:
        """Rotator's request to revoke a secret arrives. Its sender read the published document last at this number."""
        course = self.course
        value = course.live.get(id_)
        if value is None or len(course.live) == 1:
            return
        number, actor = self._since
        if value == course.published and course.ids_of(value) == {id_}:
            if id_ in self.given_up_ids or (actor == "person" and number > looked_at):
                self.removed_values.add(value)
                return  # nothing can keep a person from publishing a secret while its revocation is under way
            self.fail(f"I2: {desk.actor} revokes the published secret {id_}")
        if id_ in self.named_ids | self.claimed_ids:
            return
        ours = value in self.created_values and value in self.published_values
        if not ours and value not in self.taken_up | self.compromised:
            self.fail(f"I4: {desk.actor} revokes {id_}, which rotator did not create and publish, and nobody named")
        self._check_grace(desk, id_, value)

    def _check_grace(self, desk: Desk, id_: str, value: str) -> None:
        course = self.course
        left = self.left.get(value)
        if left is None or value in self.hurried or course.clock() >= left + course.grace - _MARGIN:
            return
        if course.published in self.forced and len(course.live) >= course.max_secrets:
            self.hurried.add(value)  # the request can arrive once more
        else:
            self.fail(f"grace: {desk.actor} revokes {id_} ({value}), which was published until {left}")

    # --- what rotator says -------------------------------------------------------------------------------------------

    def ends(self, desk: Desk, run: Run, ended: "Ended") -> None:
        """A command ended: what it said."""
        super().ends(desk, run, ended)
        self._check_unknown(desk, ended)

    def offered(self, desk: Desk, ids: Iterable[str]) -> None:
        """`resolve` offers ids to revoke."""
        self._check_not_published(desk, set(ids), "resolve offers")

    def _check_unknown(self, desk: Desk, ended: "Ended") -> None:
        outcome = ended.outcome
        if ended.reason == "backoff":
            return  # the run did not look, and repeats what an earlier one said
        looked = ended.reason in ("ambiguous", "full", "idle", "grace", "identifying")
        if outcome is not None and outcome.journal is not None and looked:
            self._check_not_published(desk, set(outcome.journal.unknown_ids), "the journal calls unknown")
        for sentence in ended.text.split(". "):
            _, found, ids = sentence.partition("did not create: ")
            if found:
                self._check_not_published(desk, set(ids.split(", ")), "a message calls unknown")

    def _check_not_published(self, desk: Desk, ids: set[str], what: str) -> None:
        own = self.course.ids_of(self.course.published)
        if len(own) == 1 and own <= ids and desk.read_value == self.course.published:
            self.fail(f"{what} the published secret's id {min(own)}")


def _last_index(values: list[str], value: str) -> int:
    return len(values) - 1 - values[::-1].index(value)
