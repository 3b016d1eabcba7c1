"""The rotation protocol, decided purely.

The modules `ownership`, `requests`, `transitions` and `wording` are public as a whole: each has names of one kind.
"""

from rotator.core.protocol import ownership, requests, transitions, wording
from rotator.core.protocol.asked import Asked
from rotator.core.protocol.decide import decide
from rotator.core.protocol.documents import (
    expires_soon,
    half_life,
    refuse_foreign,
    refuse_lost_journal,
    refuse_lost_secret,
)
from rotator.core.protocol.identity import way_out
from rotator.core.protocol.instants import CLOCK_RESOLUTION, CLOCK_TOLERANCE, has_lease, leased_elsewhere
from rotator.core.protocol.journal import (
    Answered,
    Doubt,
    Gone,
    Identity,
    Journal,
    Learned,
    Phase,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    Verification,
    ids_of,
)
from rotator.core.protocol.lease import LEASE, LONGEST_BACKOFF, limited_until
from rotator.core.protocol.limits import stored_ids
from rotator.core.protocol.observation import (
    Listing,
    Observation,
    Published,
    answered_in,
    is_recorded,
    is_version,
    published_with_candidate,
)
from rotator.core.protocol.outcome import Outcome, Result
from rotator.core.protocol.policy import Policy
from rotator.core.protocol.situation import LONGEST_PAUSE, Situation
from rotator.core.protocol.steps import (
    CHANGING_STEPS,
    Awaited,
    Command,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    List,
    Poll,
    Prepare,
    Publish,
    ReadRecorded,
    Reason,
    Refresh,
    RestoreEarlierVersion,
    Revoke,
    Step,
    Stop,
    WriteJournal,
)
from rotator.core.protocol.version import Version
from rotator.core.protocol.wake import wake_at

__all__ = [
    "CHANGING_STEPS",
    "CLOCK_RESOLUTION",
    "CLOCK_TOLERANCE",
    "LEASE",
    "LONGEST_BACKOFF",
    "LONGEST_PAUSE",
    "Answered",
    "Asked",
    "Awaited",
    "Command",
    "Create",
    "Credential",
    "Doubt",
    "Event",
    "Fail",
    "Failure",
    "Gone",
    "Identity",
    "Journal",
    "Learned",
    "List",
    "Listing",
    "Observation",
    "Outcome",
    "Phase",
    "Policy",
    "Poll",
    "Prepare",
    "Publish",
    "Published",
    "Publishing",
    "ReadRecorded",
    "Reason",
    "Refresh",
    "Request",
    "RequestKind",
    "RestoreEarlierVersion",
    "Result",
    "Retiring",
    "Revoke",
    "Situation",
    "Step",
    "Stop",
    "Target",
    "Trigger",
    "Verification",
    "Version",
    "WriteJournal",
    "answered_in",
    "decide",
    "expires_soon",
    "half_life",
    "has_lease",
    "ids_of",
    "is_recorded",
    "is_version",
    "leased_elsewhere",
    "limited_until",
    "ownership",
    "published_with_candidate",
    "refuse_foreign",
    "refuse_lost_journal",
    "refuse_lost_secret",
    "requests",
    "stored_ids",
    "transitions",
    "wake_at",
    "way_out",
    "wording",
]
