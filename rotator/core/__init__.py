"""Pure decisions: no I/O, no clock, no randomness.

Each module is public as a whole. A command needs few of them, and starts without the others.
"""

__all__ = [
    "backoff",
    "balance",
    "circuit_breaker",
    "copies",
    "failures",
    "generator",
    "instants",
    "protocol",
    "scheduling",
]
