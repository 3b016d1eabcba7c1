"""Every change of a journal, by name. Nothing else writes one."""

from rotator.core.protocol.transitions.ending import failed, key_limited, limited, recovered, rested
from rotator.core.protocol.transitions.identity import (
    LOOKS,
    adopted,
    counted,
    identified,
    looked,
    looked_at_retiring,
    pending,
    redated,
    restarted,
)
from rotator.core.protocol.transitions.lease import claimed, released, unleased, with_facts, without_own_lease
from rotator.core.protocol.transitions.publishing import caught_up, marked, unmarked, with_rewrite, without_mark
from rotator.core.protocol.transitions.retirement import (
    created_by_hand,
    creating_by_hand,
    gone_recorded,
    grace_period_end,
    late_create,
    missed,
    resolved,
    retired_by_hand,
    retiring_now,
)
from rotator.core.protocol.transitions.rotation import committed, given_up, prepared, sent_again, verifying

__all__ = [
    "LOOKS",
    "adopted",
    "caught_up",
    "claimed",
    "committed",
    "counted",
    "created_by_hand",
    "creating_by_hand",
    "failed",
    "given_up",
    "gone_recorded",
    "grace_period_end",
    "identified",
    "key_limited",
    "late_create",
    "limited",
    "looked",
    "looked_at_retiring",
    "marked",
    "missed",
    "pending",
    "prepared",
    "recovered",
    "redated",
    "released",
    "resolved",
    "restarted",
    "rested",
    "retired_by_hand",
    "retiring_now",
    "sent_again",
    "unleased",
    "unmarked",
    "verifying",
    "with_facts",
    "with_rewrite",
    "without_mark",
    "without_own_lease",
]
