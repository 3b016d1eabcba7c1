"""The revisions of the provider's specification that the emulator speaks.

                      1.0.0                                   1.0.4
credentials           Basic; query or form for the account    Basic
errors of the account a code and a label, JSON or XML         a problem document
media type of errors  application/json                        application/problem+json
every answer          -                                       X-Request-Id
429                   Retry-After                             Retry-After, X-RateLimit-Limit, -Remaining, -Reset
top-up                response, error-code, error-code-label  error-code, error-code-label
settings              two callbacks                           also httpForwardMethod
"""

from enum import StrEnum


class Revision(StrEnum):
    """A revision, by its version."""

    V1_0_0 = "1.0.0"
    V1_0_4 = "1.0.4"
