"""How a run over one account ended."""

from rotator.core.protocol import Outcome, Reason, Result
from rotator.errors import Blame, Code


def test_outcome_has_a_code_when_it_failed() -> None:
    failed = Outcome("shop", Result.FAILED, reason=Code.FULL.value)
    assert (failed.code, failed.blame) == (Code.FULL, Code.FULL.blame)
    assert isinstance(failed.blame, Blame)
    rested = Outcome("shop", Result.DEFERRED, reason=Reason.FULL.value)
    assert (rested.code, rested.blame) == (None, None)


def test_outcome_without_a_known_reason_has_code_other() -> None:
    failed = Outcome("shop", Result.FAILED)
    assert failed.code is Code.OTHER
    assert (failed.published, failed.conflicts, failed.revoked) == (False, 0, ())
    assert not failed.journal_is_unknown
