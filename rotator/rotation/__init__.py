"""One account: a run of the protocol, and what a person does to it."""

from rotator.core.protocol import Outcome, Result
from rotator.rotation.asking import MakeRequest
from rotator.rotation.audit_trail import audited_fingerprint
from rotator.rotation.countdown import Countdown
from rotator.rotation.errors import NONE_REVOKED, RotationError, StoppedError
from rotator.rotation.known_values import known_as
from rotator.rotation.operator import Operator
from rotator.rotation.preview import Preview, preview
from rotator.rotation.recorded import recorded_secret
from rotator.rotation.run import Rotation

__all__ = [
    "NONE_REVOKED",
    "Countdown",
    "MakeRequest",
    "Operator",
    "Outcome",
    "Preview",
    "Result",
    "Rotation",
    "RotationError",
    "StoppedError",
    "audited_fingerprint",
    "known_as",
    "preview",
    "recorded_secret",
]
