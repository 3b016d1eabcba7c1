"""Two runners, a provider, a Vault, faults, crashes and a human: whatever they do, the invariants hold."""

import os
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rotator.core.protocol import Phase
from rotator.rotation import Outcome, Result, Rotation
from testkit.model import World

pytestmark = pytest.mark.timeout(1200)

FIRST = "FirstSecret001"
DAY = 86_400


class RotatorMachine(RuleBasedStateMachine):
    """The published secret works, whatever happens; what a human breaks is reported and never made worse."""

    world: World
    runs: list[Rotation | None]

    @initialize(
        grace=st.sampled_from([timedelta(), timedelta(minutes=1), timedelta(hours=1)]),
        max_secrets=st.sampled_from([2, 2, 2, 3]),
        secondary=st.booleans(),
    )
    def begin(self, grace: timedelta, max_secrets: int, secondary: bool) -> None:
        self.world = World(grace=grace, max_secrets=max_secrets, secondary=secondary)
        self.world.provider.add("shopkey", FIRST)
        self.world.publish(FIRST)
        self.runs = [None, None]
        self.world.provider.on_revoke = self.revoked
        self.by_hand: set[int] = set()  # versions of the published document that a human wrote
        self.known_by_hand: set[str] = set()  # ids that a human made and never published
        self.touched = False  # a human changed something
        self.beyond_window = False  # the provider contradicted itself for longer than the consistency window
        self.revoked_by_hand: set[str] = set()  # values that a human took away from consumers
        self.counter = 0

    # --- runners -----------------------------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1),
        due=st.booleans(),
        force=st.booleans(),
        compromised=st.booleans(),
        explicit=st.booleans(),
    )
    def start(self, which: int, due: bool, force: bool, compromised: bool, explicit: bool) -> None:
        """A runner starts; one that was at work is thereby killed."""
        self.runs[which] = self.world.rotation(
            fresh_after=self.world.clock() if due else None, force=force, compromised=compromised, explicit=explicit
        )

    @rule(which=st.integers(0, 1), steps=st.integers(1, 6))
    def work(self, which: int, steps: int) -> None:
        for _ in range(steps):
            self.one_step(which)

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        self.runs[which] = None

    @rule(which=st.integers(0, 1), fault=st.sampled_from(["lost-before", "lost-after", "late", "refuse-value"]))
    def work_with_a_provider_fault(self, which: int, fault: str) -> None:
        self.world.provider.fault = fault
        self.one_step(which)
        self.world.provider.fault = None

    @rule(which=st.integers(0, 1), fault=st.sampled_from(["lost-before", "lost-after"]))
    def work_with_a_vault_fault(self, which: int, fault: str) -> None:
        self.world.vault.fault = fault
        self.one_step(which)
        self.world.vault.fault = None

    @rule(which=st.integers(0, 1), after=st.integers(0, 3), steps=st.integers(1, 12))
    def work_interrupted_by_the_other(self, which: int, after: int, steps: int) -> None:
        """The other runner does so many steps between two requests of one step of this one."""
        self.world.interruption.after = after
        self.world.interruption.happen = lambda: self.work(1 - which, steps)
        self.one_step(which)
        self.world.interruption.happen = None

    def one_step(self, which: int) -> None:
        run = self.runs[which]
        if run is None:
            return
        outcome = run.step()
        if outcome is not None and self.runs[which] is run:
            self.runs[which] = None

    def revoked(self, id_: str, value: str) -> None:
        """Rotator revokes this, right now."""
        assert id_ not in self.known_by_hand, "I4: a secret that rotator does not know was revoked"
        if value == self.world.published:
            # Nobody can keep a human from going back to a secret in the very moment of its revocation.
            assert len(self.world.vault.versions["apps/shop"]) in self.by_hand, "I2: the published secret was revoked"
            self.revoked_by_hand.add(value)

    # --- the world ---------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 11, 31, 61, 125, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.wait(timedelta(seconds=seconds))

    @precondition(lambda self: self.world.provider.late)
    @rule()
    def a_late_create_lands(self) -> None:
        self.world.provider.land()

    @rule(delay=st.sampled_from([0, 2, 20]))
    def new_secrets_take_a_while(self, delay: int) -> None:
        provider = self.world.provider
        youngest = max(created for _, created in provider.secrets["shopkey"].values())
        if self.world.clock() - youngest >= timedelta(seconds=delay):  # never un-propagate what works already
            provider.propagation = timedelta(seconds=delay)

    @rule(requests=st.sampled_from([1, 2, 5]))
    def valid_secrets_are_refused_for_a_moment(self, requests: int) -> None:
        self.world.provider.refusals = requests

    @rule(seconds=st.sampled_from([0, 2, 20, 400]))
    def what_is_new_is_listed_late(self, seconds: int) -> None:
        provider = self.world.provider
        youngest = max(created for _, created in provider.secrets["shopkey"].values())
        if self.world.clock() - youngest >= timedelta(seconds=seconds):  # never take away what was listed already
            provider.listing_lag = timedelta(seconds=seconds)
            self.beyond_window |= provider.listing_lag > provider.settle

    # --- a human -----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.live) < self.world.max_secrets)
    @rule()
    def a_human_adds_a_secret(self) -> None:
        self.counter += 1
        self.touched = True
        id_ = self.world.provider.add("shopkey", f"HumanSecret{self.counter:03}")
        if self.world.journal.rotated_at is not None:  # what is there at adoption is recorded then
            self.known_by_hand.add(id_)

    @precondition(lambda self: len(self.world.live) > 1)
    @rule(data=st.data())
    def a_human_revokes_a_secret(self, data: Any) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.live)))
        if self.unconfirmed and self.world.live[id_] == self.world.published:
            return  # a person has to say whose document it is: tests/rotation/test_unconfirmed_documents.py
        self.touched = True
        self.revoked_by_hand.add(self.world.live[id_])
        self.world.provider.remove("shopkey", id_)

    @rule(data=st.data(), with_id=st.booleans())
    def a_human_publishes_a_working_secret(self, data: Any, with_id: bool) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.world.live)))
        if not self.world.provider.authenticates("shopkey", self.world.live[id_]):
            return
        self.touched = True
        self.known_by_hand.discard(id_)
        self.world.publish(self.world.live[id_], secret_id=id_ if with_id else None)
        self.by_hand.add(len(self.world.vault.versions["apps/shop"]))

    @rule()
    def a_human_edits_another_field(self) -> None:
        versions = self.world.vault.versions["apps/shop"]
        versions.append(versions[-1] | {"note": f"edited {len(versions)} times"})

    # --- what holds ----------------------------------------------------------------------------------------------

    @property
    def unconfirmed(self) -> bool:
        """Whether nothing shows that the published document is this account's."""
        document = self.world.vault.versions["apps/shop"][-1]
        return "api_key" not in document and not self.world.journal.published_version

    @property
    def broken(self) -> bool:
        """Whether a human broke what consumers read."""
        return self.world.published in self.revoked_by_hand

    @invariant()
    def the_published_secret_works(self) -> None:
        if not hasattr(self, "world"):
            return
        assert self.world.consumer_works() or self.broken, "I1: the published secret does not authenticate"

    @invariant()
    def no_foreign_field_is_lost(self) -> None:
        if not hasattr(self, "world"):
            return
        versions = self.world.vault.versions["apps/shop"]
        for before, after in pairwise(versions):
            assert before.keys() <= after.keys()

    @invariant()
    def at_most_one_unpublished_secret_of_ours_is_live(self) -> None:
        """I5: two runners never both create. (A human who publishes something else meanwhile is not a runner.)

        A list that lacks a secret for longer than the consistency window looks like a create that never happened.
        """
        if not hasattr(self, "world") or self.touched or self.beyond_window:
            return
        ever = {version.get("api_secret") for version in self.world.vault.versions["apps/shop"]}
        unpublished = [value for value in self.world.live.values() if value not in ever]
        assert len(unpublished) <= 1

    def teardown(self) -> None:
        """I6: when the faults end, one ordinary run converges, or says loudly why a person has to."""
        if not hasattr(self, "world"):
            return
        self.runs = [None, None]
        world = self.world
        while world.provider.late:
            world.provider.land()
        world.provider.refusals = 0
        world.provider.listing_lag = timedelta()
        outcome = self.ordinary_run()
        if self.touched or self.beyond_window or self.replaced_in_doubt:
            self.judge_a_touched_account(outcome)
            return
        assert outcome.result is Result.OK, outcome
        assert world.journal.phase is Phase.IDLE
        assert list(world.live) == [world.journal.current_id], "unknown or old secrets are left"
        assert world.consumer_works()

    @property
    def replaced_in_doubt(self) -> bool:
        """Whether a secret was replaced before its id was certain: it becomes unknown, and a person decides."""
        versions = self.world.vault.versions[self.world.settings.journal_path(self.world.account)]
        return any(
            (before.get("current_id") or {}).get("learned") == "pending"
            and after["candidate"] is None
            and before["candidate"] is not None
            for before, after in pairwise(versions)
        )

    def ordinary_run(self, **options: Any) -> Outcome:
        """Run once, and as often again as the outcome says that a later run continues."""
        world = self.world
        outcome = world.rotation(fresh_after=world.clock(), patience=timedelta(days=1), **options).run()
        while outcome.resume_at is not None:  # a command runs again while its candidate does not verify yet
            world.clock.now = max(world.clock.now, outcome.resume_at)
            outcome = world.rotation(patience=timedelta(days=1)).run()
        for _ in range(12):  # lists that nothing rests on yet are left to later runs
            if outcome.reason != "identifying":
                break
            world.clock.wait(world.provider.settle)
            outcome = world.rotation(patience=timedelta(days=1)).run()
        return outcome

    def judge_a_touched_account(self, outcome: Outcome) -> None:
        world = self.world
        if outcome.result is Result.OK:
            assert world.consumer_works()
            assert world.journal.phase is Phase.IDLE
            assert set(world.live) == {world.journal.current_id}
            return
        assert outcome.result is Result.FAILED, outcome
        assert outcome.error
        assert outcome.reason in {
            "ambiguous",
            "credentials",
            "full",
            "not_adopted",
            "published_lost",
            "refused",
            "unverified",
            "unlisted",
        }, outcome
        if outcome.reason == "ambiguous":
            assert world.journal.phase is Phase.AMBIGUOUS
        if not self.broken:
            assert world.consumer_works()


class WrongClocksMachine(RotatorMachine):
    """The runners' clocks are set, also in the middle of a run: that puts things off, and breaks nothing."""

    @rule(
        seconds=st.sampled_from([0, -3700, -20, 20, 61, 3700, 400 * DAY, -400 * DAY]),
        which=st.integers(0, 1),
        steps=st.integers(0, 14),
        due=st.booleans(),
        force=st.booleans(),
    )
    def the_clocks_are_set(self, seconds: int, which: int, steps: int, due: bool, force: bool) -> None:
        """A rotation that begins then may be whole: one that takes many rules to come about hardly ever would."""
        self.world.ahead = timedelta(seconds=seconds)
        if steps > 2:
            self.start(which=which, due=due, force=force, compromised=False, explicit=True)
        self.work(which=which, steps=steps)

    def ordinary_run(self, **options: Any) -> Outcome:
        """Once the clocks are right, and past the dates of clocks that were a bit ahead."""
        world = self.world
        world.ahead = timedelta()
        world.clock.wait(timedelta(hours=2))
        outcome = super().ordinary_run(**options)
        if outcome.reason not in ("grace", "full"):
            return outcome
        # A grace by a clock far ahead is not over, and nobody shortens one but a person.
        assert world.consumer_works() or self.broken
        world.clock.wait(timedelta(seconds=1))  # the run before might have rotated this very instant
        return super().ordinary_run(force=True, compromised=True)


TestRotatorMachine = RotatorMachine.TestCase
TestRotatorMachine.settings = hypothesis_settings(
    max_examples=int(os.environ.get("ROTATOR_HISTORIES", "150")), stateful_step_count=40
)
TestWrongClocksMachine = WrongClocksMachine.TestCase
TestWrongClocksMachine.settings = TestRotatorMachine.settings
