"""Every request of every way to run, in order, as the servers see it.

tests/benchmarks/test_calls.py holds rotator to these lists.

A request more is a decision: whoever makes it changes a list here, and docs/performance.md counts it. `a` is the
account, `main` its primary.
"""

# Once a process: whether the token works, what it may do, whether the mount is a KV v2 one.
LOGIN = """
vault     GET    token
"""
START = """
vault     GET    token
vault     POST   capabilities
vault     GET    mount
"""
# Before the previous secret is revoked, three lists have to show that its id is its own.
FIRST_ROTATION = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     POST   journal/a versions
vault     POST   journal/a
provider  POST   secrets/a
provider  GET    secrets/a
vault     POST   published/a
vault     GET    published/a
vault     POST   journal/a
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     POST   journal/a
vault     GET    published/a
provider  DELETE secret/a
vault     POST   journal/a
"""
ROTATION = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
provider  POST   secrets/a
provider  GET    secrets/a
vault     POST   published/a
vault     GET    published/a
vault     POST   journal/a
provider  GET    secrets/a
vault     GET    published/a
provider  DELETE secret/a
vault     POST   journal/a
"""
# The request is written before the provider is asked.
COMPROMISED = """
vault     GET    journal/a
vault     GET    published/a
vault     POST   journal/a
provider  GET    secrets/a
vault     POST   journal/a
provider  POST   secrets/a
provider  GET    secrets/a
vault     POST   published/a
vault     GET    published/a
vault     POST   journal/a
provider  GET    secrets/a
vault     GET    published/a
provider  DELETE secret/a
vault     POST   journal/a
"""
ROTATION_WITH_GRACE = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
provider  POST   secrets/a
provider  GET    secrets/a
vault     POST   published/a
vault     GET    published/a
vault     POST   journal/a
"""
REVOCATION = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     GET    published/a
provider  DELETE secret/a
vault     POST   journal/a
"""
# The secrets that the account had before stay: a person decides about them.
SECONDARY_COMES_IN = """
vault     GET    journal/a
vault     GET    published/a
vault     GET    journal/main
vault     GET    published/main
provider  GET    secrets/a
vault     POST   journal/a
vault     POST   journal/a versions
provider  POST   secrets/a
provider  GET    secrets/a
vault     POST   published/a
vault     GET    published/a
vault     POST   journal/a
vault     GET    journal/a
vault     GET    published/a
vault     POST   journal/a
"""
RESOLVE = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     POST   published/a
vault     GET    published/a
vault     POST   journal/a
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
vault     POST   journal/a
vault     GET    published/a
provider  DELETE secret/a
vault     POST   journal/a
"""
NOTHING_DUE = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
"""
RECHECK = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
"""
SWEEP = """
vault     GET    published/a
vault     GET    journal/a
"""
# A daemon's, every 10 seconds, besides the token's renewal.
HEARTBEAT = """
vault     GET    mount
vault     GET    journal/_fleet
"""
STATUS = """
vault     GET    journal/a
vault     GET    published/a
"""
DRY_RUN = """
vault     GET    journal/a
vault     GET    published/a
provider  GET    secrets/a
"""
# The script as one writes it by hand; the provider's part is told by the operations' names.
REFERENCE = """
vault     GET    published/a
vault     POST   published/a
vault     GET    published/a
"""
REFERENCE_AT_THE_PROVIDER = ["list", "create", "list", "revoke"]
# The lean script: the same with one connection to the provider.
LEAN = """
vault     GET    published/a
provider  GET    secrets/a
provider  POST   secrets/a
vault     POST   published/a
vault     GET    published/a
provider  GET    secrets/a
provider  DELETE secret/a
"""

# What a reader of docs/performance.md may ask about.
WAYS = {
    "once a process, before it begins": START,
    "a rotation without grace, by hand or by the daemon": ROTATION,
    "a rotation with grace": ROTATION_WITH_GRACE,
    "its revocation later": REVOCATION,
    "a compromised secret replaced and revoked at once": COMPROMISED,
    "the first rotation of an account": FIRST_ROTATION,
    "the first one of a secondary, through its primary": SECONDARY_COMES_IN,
    "`resolve`, which revokes one secret": RESOLVE,
    "`rotate-now --due`, an account that is not due": NOTHING_DUE,
    "`rotate-now --dry-run`, an account": DRY_RUN,
    "`status`, an account": STATUS,
    "the daemon's recheck of an account, once a day": RECHECK,
    "the daemon's sweep, an account": SWEEP,
    "the daemon's heartbeat, every 10 seconds, besides the look-up of its token": HEARTBEAT,
}
