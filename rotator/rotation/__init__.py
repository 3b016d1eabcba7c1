"""One account: a run of the protocol, and what a person does to it."""

from rotator.core.protocol import Outcome, Result
from rotator.rotation.audited import audited_fingerprint
from rotator.rotation.errors import ContentionError, OperatorError, RotationError, StoppedError
from rotator.rotation.operator import Operator
from rotator.rotation.ports import Clock, Provider, Store, Waiter
from rotator.rotation.preview import Preview, preview
from rotator.rotation.run import Rotation

__all__ = [
    "Clock",
    "ContentionError",
    "Operator",
    "OperatorError",
    "Outcome",
    "Preview",
    "Provider",
    "Result",
    "Rotation",
    "RotationError",
    "StoppedError",
    "Store",
    "Waiter",
    "audited_fingerprint",
    "preview",
]
