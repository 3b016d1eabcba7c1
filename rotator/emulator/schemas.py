"""The schemas of the emulated API's OpenAPI document."""

from typing import Any

from rotator.emulator.accounts import COMPLEXITY, LONGEST, SHORTEST
from rotator.emulator.callbacks import LONGEST as LONGEST_CALLBACK
from rotator.emulator.callbacks import URL
from rotator.emulator.profiles import FORWARD_METHODS
from rotator.emulator.revisions import Revision

Json = dict[str, Any]


def ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def object_of(properties: Json, *, optional: tuple[str, ...] = (), **more: Any) -> Json:
    """An object that holds these and nothing else."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False, **more}


def schemas(revision: Revision) -> Json:
    """All schemas by name."""
    if revision == Revision.V1_0_4:
        return _SCHEMAS | {"ToppedUp": _TOPPED_UP}
    return _SCHEMAS


def settings_form(revision: Revision) -> Json:
    """The fields of the form that changes the settings."""
    fields = {
        "moCallBackUrl": _callback("inbound messages"),
        "drCallBackUrl": _callback("delivery receipts"),
        "moCallbackUrl": _callback("inbound messages", deprecated=True),
        "drCallbackUrl": _callback("delivery receipts", deprecated=True),
    }
    if revision == Revision.V1_0_4:
        method = {"type": "string", "enum": list(FORWARD_METHODS), "description": "How callbacks are called."}
        fields["httpForwardMethod"] = method
    return fields


def _callback(of: str, **more: Any) -> Json:
    return {
        "type": "string",
        "maxLength": LONGEST_CALLBACK,
        "pattern": f"^(?:{URL})?$",
        "description": f"The callback for {of}. Empty unsets it, omitted keeps it.",
        **more,
    }


_SELF = object_of({"self": object_of({"href": {"type": "string", "pattern": "^/accounts/"}})})
_SCHEMAS = {
    "Balance": object_of(
        {
            "value": {"type": "number", "minimum": 0, "description": "In euros."},
            "autoReload": {"type": "boolean", "description": "Whether a top-up is possible."},
        },
        xml={"name": "accountBalance"},
    ),
    "ToppedUp": object_of(
        {"response": {"const": "success"}, "error-code": {"const": "200"}, "error-code-label": {"const": "success"}},
        xml={"name": "response"},
        description="The same thing said in the words of every revision of the provider's document.",
    ),
    "Settings": object_of(
        {
            "mo-callback-url": {"type": "string", "pattern": f"^(?:{URL})?$", "description": "For inbound messages."},
            "dr-callback-url": {"type": "string", "pattern": f"^(?:{URL})?$", "description": "For receipts."},
            "max-outbound-request": {"type": "integer", "minimum": 1, "description": "Messages sent in a second."},
            "max-inbound-request": {"type": "integer", "minimum": 1, "description": "Messages received in a second."},
            "max-calls-per-second": {"type": "integer", "minimum": 1, "description": "Calls of this API in a second."},
        },
        xml={"name": "account-settings"},
    ),
    "SecretValue": {
        "type": "string",
        "minLength": SHORTEST,
        "maxLength": LONGEST,
        "allOf": [{"pattern": pattern, "description": f"At least {name}."} for pattern, name in COMPLEXITY],
        "examples": ["Example-4-a-secret"],
        "description": f"{SHORTEST} to {LONGEST} characters, among them {', '.join(name for _, name in COMPLEXITY)}. "
        "The caller chooses it. It cannot be read back.",
    },
    "Secret": object_of(
        {
            "_links": _SELF,
            "id": {"type": "string", "format": "uuid"},
            "created_at": {"type": "string", "format": "date-time"},
        },
        description="A secret without its value.",
    ),
    "Secrets": object_of(
        {
            "_links": _SELF,
            "_embedded": object_of({"secrets": {"type": "array", "minItems": 1, "items": ref("schemas", "Secret")}}),
        }
    ),
    "Problem": object_of(
        {
            "type": {"type": "string", "format": "uri", "description": "Where the provider explains it."},
            "title": {"type": "string"},
            "detail": {"type": "string", "description": "The cause of this refusal, without any secret."},
            "instance": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "This answer's own id."},
            "invalid_parameters": {
                "type": "array",
                "minItems": 1,
                "items": object_of({"name": {"type": "string"}, "reason": {"type": "string"}}),
            },
        },
        optional=("invalid_parameters",),
    ),
}
_CODE_AND_LABEL = {"error-code": {"const": "200"}, "error-code-label": {"const": "success"}}
_TOPPED_UP = object_of(_CODE_AND_LABEL, xml={"name": "response"})
