"""What `make model` searches."""

from dataclasses import replace
from datetime import timedelta

from rotator.core.protocol import RequestKind
from tools.explore.states import DELETE, EDIT, FIRST, FOREIGN, SECOND, TICK, WINDOW, Scenario

AT_ONCE = timedelta()

ORDINARY = (
    Scenario("one runner, a crash, a fault", runners=1),
    Scenario("one runner, a crash, two faults", runners=1, faults=2),
    Scenario("one runner, new secrets take a while", runners=1, propagation=TICK),
    Scenario("one runner, a person", runners=1, faults=0, by_hand=1),
    Scenario("one runner, room to spare", runners=1, max_secrets=3),
    Scenario("one runner, grace", runners=1, grace=2 * TICK),
    Scenario("two runners", crashes=0, faults=0),
    Scenario("two runners, a fault", crashes=0),
    Scenario("two runners, at once", crashes=0, faults=0, slowest=AT_ONCE),
    Scenario("two runners, within a tick", crashes=0, faults=0, slowest=TICK),
    Scenario("two runners, a crash each, at once", faults=0, slowest=AT_ONCE),
    Scenario("two runners, a crash each, within a tick", faults=0, slowest=TICK),
    Scenario("two runners, a crash each", faults=0),
)

# Whose id is it?
IDENTITY = (
    Scenario(
        "lists that lag, a new account",
        start="new",
        runners=1,
        scheduled=False,
        lag=WINDOW,
        needs_person=True,
        slowest=TICK,
    ),
    Scenario(
        "lists that lag, adoption",
        start="added",
        runners=1,
        scheduled=False,
        adopts=SECOND,
        lag=WINDOW,
        needs_person=True,
        slowest=AT_ONCE,
    ),
    Scenario(
        "lists that lag, adoption over a secret of rotator's",
        start="added to own",
        runners=1,
        scheduled=False,
        adopts=SECOND,
        lag=WINDOW,
        needs_person=True,
        slowest=AT_ONCE,
    ),
    Scenario(
        "an adoption with a wrong id",
        start="added",
        runners=1,
        scheduled=False,
        adopts=SECOND,
        adopts_id="id-001",
        needs_person=True,
        slowest=AT_ONCE,
    ),
    Scenario("lists that lag, a rotation", runners=1, lag=WINDOW, slowest=TICK),
    Scenario(
        "lists that lack an id",
        start="replaced",
        runners=1,
        scheduled=False,
        grace=2 * TICK,
        answers=("lacks",),
        slowest=TICK,
    ),
    Scenario("lists that lack an id, a rotation", runners=1, answers=("lacks",), slowest=TICK),
)

ADOPTION_OF_TWO = Scenario(
    "two runners, an interrupted adoption, within a tick",
    start="replaced",
    scheduled=False,
    adopts=FIRST,
    adopts_id="id-001",
    grace=4 * TICK,
    faults=0,
    slowest=TICK,
)
REQUEST_OF_TWO = Scenario(
    "two runners, a compromised request under another's lease, within a tick",
    requests=(None, RequestKind.COMPROMISED),
    grace=2 * TICK,
    faults=0,
    slowest=TICK,
)
THREE_REQUESTS = Scenario(
    "three runners, three compromised requests, at once",
    runners=3,
    scheduled=False,
    requests=(RequestKind.COMPROMISED,) * 3,
    faults=0,
    crashes=0,
    slowest=AT_ONCE,
)

# Writes that are applied late.
LATE_WRITES = (
    Scenario(
        "a write that is held up, a person edits",
        start="held up",
        runners=1,
        scheduled=False,
        grace=2 * TICK,
        by_hand=1,
        hand=(EDIT,),
        slowest=TICK,
    ),
    Scenario(
        "a write that is held up, a person deletes",
        start="held up",
        runners=1,
        scheduled=False,
        grace=2 * TICK,
        by_hand=1,
        hand=(DELETE,),
        needs_person=True,
        slowest=TICK,
    ),
    Scenario(
        "an interrupted adoption",
        start="replaced",
        runners=1,
        scheduled=False,
        adopts=FIRST,
        adopts_id="id-001",
        grace=4 * TICK,
        slowest=TICK,
    ),
    Scenario(
        "an interrupted adoption, a person edits",
        start="replaced",
        runners=1,
        scheduled=False,
        adopts=FIRST,
        adopts_id="id-001",
        grace=4 * TICK,
        faults=0,
        by_hand=1,
        hand=(EDIT,),
        slowest=TICK,
    ),
    Scenario(
        "an interrupted adoption, a person deletes",
        start="replaced",
        runners=1,
        scheduled=False,
        adopts=FIRST,
        adopts_id="id-001",
        grace=4 * TICK,
        faults=0,
        by_hand=1,
        hand=(DELETE,),
        needs_person=True,
        slowest=TICK,
    ),
    replace(
        ADOPTION_OF_TWO,
        name="two runners, an adoption of a dying command, by their own clocks, within a tick",
        survivors=1,
        replaced=False,
        vault_tells_time=False,
    ),
    replace(
        ADOPTION_OF_TWO, name="two runners, an adoption of a dying command, within a tick", survivors=1, replaced=False
    ),
    replace(
        ADOPTION_OF_TWO, name="two runners, an adoption of a dying instance, at once", survivors=1, slowest=AT_ONCE
    ),
    replace(ADOPTION_OF_TWO, name="two runners, an adoption of a dying instance, within a tick", survivors=1),
    ADOPTION_OF_TWO,
    Scenario(
        "the published secret is refused, a person adopts the previous one",
        start="refused",
        runners=1,
        scheduled=False,
        adopts=FIRST,
        adopts_id="id-001",
        grace=4 * TICK,
        slowest=TICK,
    ),
)

# What a person asked for.
REQUESTS = (
    Scenario("a compromised request", runners=1, scheduled=False, requests=(RequestKind.COMPROMISED,), slowest=TICK),
    Scenario("a manual request", runners=1, scheduled=False, requests=(RequestKind.MANUAL,), slowest=TICK),
    Scenario(
        "a compromised request in a grace period",
        start="replaced",
        runners=1,
        scheduled=False,
        requests=(RequestKind.COMPROMISED,),
        grace=4 * TICK,
        slowest=TICK,
    ),
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under another's lease, no crash, by their own clocks, within a tick",
        crashes=0,
        vault_tells_time=False,
    ),
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under a dying command's lease, by their own clocks, within a tick",
        survivors=1,
        replaced=False,
        vault_tells_time=False,
    ),
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under another's lease, no crash, within a tick",
        crashes=0,
    ),
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under a dying command's lease, within a tick",
        survivors=1,
        replaced=False,
    ),
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under a dying instance's lease, at once",
        survivors=1,
        slowest=AT_ONCE,
    ),
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under a dying instance's lease, within a tick",
        survivors=1,
    ),
    REQUEST_OF_TWO,
    replace(
        REQUEST_OF_TWO,
        name="two runners, a compromised request under another's lease, at once",
        faults=1,
        slowest=AT_ONCE,
    ),
    Scenario(
        "two runners, two compromised requests, within a tick",
        scheduled=False,
        requests=(RequestKind.COMPROMISED, RequestKind.COMPROMISED),
        faults=0,
        crashes=0,
        slowest=TICK,
    ),
    THREE_REQUESTS,
)

# Nobody gets stuck; evidence.
EVIDENCE = (
    Scenario("a stuck candidate", start="stuck", runners=1, scheduled=False, grace=2 * TICK, slowest=TICK),
    Scenario(
        "a stuck candidate, forced",
        start="stuck",
        runners=1,
        scheduled=False,
        requests=(RequestKind.FORCE,),
        grace=8 * TICK,
        slowest=TICK,
    ),
    Scenario(
        "a stuck candidate, compromised",
        start="stuck",
        runners=1,
        scheduled=False,
        requests=(RequestKind.COMPROMISED,),
        grace=8 * TICK,
        slowest=TICK,
    ),
    Scenario("a foreign document", start="foreign", runners=1, grace=2 * TICK, needs_person=True, unchanged=True),
    Scenario(
        "a person publishes another account's document",
        runners=1,
        faults=0,
        by_hand=1,
        hand=(FOREIGN,),
        grace=2 * TICK,
        slowest=TICK,
    ),
    Scenario("unprovisioned", runners=1, answers=("unprovisioned",), slowest=TICK),
    Scenario(
        "unprovisioned, in a grace period",
        start="replaced",
        runners=1,
        scheduled=False,
        grace=2 * TICK,
        answers=("unprovisioned",),
        slowest=TICK,
    ),
    Scenario("a valid secret is refused", runners=1, answers=("refused",), slowest=TICK),
    Scenario("a process runs again", runners=1, again=1, crashes=0, faults=2, slowest=TICK),
)

SCENARIOS = (*ORDINARY, *IDENTITY, *LATE_WRITES, *REQUESTS, *EVIDENCE)
