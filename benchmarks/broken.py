"""A rotator that publishes what it did not try, to see whether the campaign notices.

python -m benchmarks.chaos 75 --seed 102 --calm 5 --accounts 30 --module benchmarks.broken
"""

from datetime import UTC, datetime

from rotator.cli.app import main
from rotator.core.protocol import Credential, List, Listing, Step
from rotator.rotation.executor import Executor


def unverified() -> None:
    """Publishes what the provider says it created, without a try."""
    perform = Executor.perform

    def pretend(self: Executor, step: Step) -> None:
        state = self.state
        answered = state.seen.answered
        if not isinstance(step, List) or step.using is not Credential.CANDIDATE or answered is None:
            perform(self, step)
            return
        ids = {*state.journal.ids_before, answered.id}
        state.learn_listing(Listing(step.using, dict.fromkeys(ids, datetime.now(UTC))))

    Executor.perform = pretend  # type: ignore[method-assign]


if __name__ == "__main__":
    unverified()
    main()
