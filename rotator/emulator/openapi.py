"""The emulated API as an OpenAPI 3.1 document; imports operations, callbacks, state and the version.

It is stricter than what the provider publishes: it says which values are taken, every way to be refused, and that
answers hold nothing else. The tests send whatever it allows, and what it does not, and compare.
"""

from typing import Any

from rotator import __version__
from rotator.emulator.callbacks import LONGEST as LONGEST_CALLBACK
from rotator.emulator.callbacks import URL
from rotator.emulator.operations import Operation
from rotator.emulator.state import API_KEY, COMPLEXITY, LONGEST, SHORTEST

Json = dict[str, Any]

_OVERVIEW = (
    "An emulator of the Account API of Nexmo, now Vonage, with both of its hosts on one port. It keeps everything in "
    "memory, bills nothing, and can be told to go wrong: any operation may then answer 429 or the page of a broken "
    "gateway, or not at all."
)


def document() -> Json:
    """The whole of it, as JSON values."""
    paths: Json = {}
    for operation in Operation:
        described = {"operationId": str(operation), **_OPERATIONS[operation]}
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Account API, emulated",
            "version": __version__,
            "summary": "Balance, settings and API secrets of an account.",
            "description": _OVERVIEW,
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "Account", "description": "What an account has and how it is set up. Answers in JSON or XML."},
            {"name": "Secrets", "description": "The secrets that an account authenticates with. Answers in JSON."},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The API key as user, one of its secrets as password. "
                    "A primary's may stand in for a secondary's where the path names the account.",
                },
                "queryKey": {"type": "apiKey", "in": "query", "name": "api_key", "description": "The API key."},
                "querySecret": {"type": "apiKey", "in": "query", "name": "api_secret", "description": "Its secret."},
            },
            "parameters": {"ApiKey": _API_KEY, "SecretId": _SECRET_ID},
            "schemas": _SCHEMAS,
            "responses": {
                "LimitedAccount": _refused("429", ["rate limit hit"], "Too many calls.", headers=_RETRY_AFTER),
                "LimitedSecrets": _problem("Too many calls.", ["Rate Limit Hit"], headers=_RETRY_AFTER),
                "Unauthorized": _problem(
                    "No credentials, unreadable ones, or a key and a secret that do not belong together.",
                    ["Unauthorized"],
                    headers=_CHALLENGE,
                ),
                "Broken": {
                    "description": "A broken gateway; only ever as a fault. It may have been done all the same.",
                    "content": {"text/html": {"schema": {"type": "string"}}},
                },
            },
        },
    }


# --- pieces --------------------------------------------------------------------------------------------------


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(properties: Json, *, optional: tuple[str, ...] = (), **more: Any) -> Json:
    """An object that holds these and nothing else."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False, **more}


def _header(description: str, schema: Json) -> Json:
    return {"description": description, "required": True, "schema": schema}


def _told(description: str, schema: Json, **more: Any) -> Json:
    """An answer in either form."""
    content = {"application/json": {"schema": schema}, "application/xml": {"schema": schema}}
    return {"description": description, "content": content, **more}


def _refused(code: str, labels: list[str] | None, description: str, **more: Any) -> Json:
    """A refusal in the older dialect."""
    label = {"type": "string", "minLength": 1} if labels is None else {"type": "string", "enum": labels}
    return _told(description, _object({"error-code": {"const": code}, "error-code-label": label}), **more)


def _problem(description: str, titles: list[str], *, headers: Json | None = None) -> Json:
    """A refusal after RFC 7807."""
    titled = {"type": "object", "properties": {"title": {"enum": titles}}}
    schema = {"allOf": [_ref("schemas", "Problem"), titled]}
    answer = {"description": description, "content": {"application/json": {"schema": schema}}}
    return answer | ({"headers": headers} if headers else {})


def _form(properties: Json, required: list[str]) -> Json:
    """A form; fields that nobody knows are ignored."""
    schema = {"type": "object", "properties": properties, "required": required}
    return {"required": bool(required), "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


def _callback(of: str, **more: Any) -> Json:
    return {
        "type": "string",
        "maxLength": LONGEST_CALLBACK,
        "pattern": f"^(?:{URL})?$",
        "description": f"Who is told of {of}. Empty: nobody. Left out: as before.",
        **more,
    }


def _link(to: Operation) -> Json:
    parameters = {"api_key": "$request.path.api_key", "secret_id": "$response.body#/id"}  # nosec B105
    return {"operationId": str(to), "parameters": parameters}


_CHALLENGE = {"WWW-Authenticate": _header("How to authenticate.", {"const": "Basic"})}
_RETRY_AFTER = {"Retry-After": _header("Seconds to wait.", {"type": "integer", "minimum": 0})}

_API_KEY = {
    "name": "api_key",
    "in": "path",
    "required": True,
    "description": "Whose secrets.",
    "schema": {"type": "string", "pattern": f"^{API_KEY}$"},
    "example": "abcd1234",
}
_SECRET_ID = {
    "name": "secret_id",
    "in": "path",
    "required": True,
    "description": "Which of them.",
    "schema": {"type": "string", "minLength": 1},
    "example": "3f0d7c6a-5b0e-4f3b-9d55-0c6f1f1f8a11",
}
_SELF = _object({"self": _object({"href": {"type": "string", "pattern": "^/accounts/"}})})
_SCHEMAS = {
    "Balance": _object(
        {
            "value": {"type": "number", "minimum": 0, "description": "In euros."},
            "autoReload": {"type": "boolean", "description": "Whether a top-up is possible."},
        },
        xml={"name": "accountBalance"},
    ),
    "ToppedUp": _object(
        {"response": {"const": "success"}, "error-code": {"const": "200"}, "error-code-label": {"const": "success"}},
        xml={"name": "response"},
        description="The same thing said in the words of every revision of the provider's document.",
    ),
    "Settings": _object(
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
        "The caller chooses it, and nobody can read it back.",
    },
    "Secret": _object(
        {
            "_links": _SELF,
            "id": {"type": "string", "format": "uuid"},
            "created_at": {"type": "string", "format": "date-time"},
        },
        description="A secret without its value.",
    ),
    "Secrets": _object(
        {
            "_links": _SELF,
            "_embedded": _object({"secrets": {"type": "array", "minItems": 1, "items": _ref("schemas", "Secret")}}),
        }
    ),
    "Problem": _object(
        {
            "type": {"type": "string", "format": "uri", "description": "Where the provider explains it."},
            "title": {"type": "string"},
            "detail": {"type": "string", "description": "What is wrong this time; never with a secret in it."},
            "instance": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "This answer's own id."},
            "invalid_parameters": {
                "type": "array",
                "minItems": 1,
                "items": _object({"name": {"type": "string"}, "reason": {"type": "string"}}),
            },
        },
        optional=("invalid_parameters",),
    ),
}

_ACCOUNT: Json = {"tags": ["Account"], "security": [{"basic": []}, {"queryKey": [], "querySecret": []}]}
_SECRETS: Json = {"tags": ["Secrets"], "security": [{"basic": []}]}
_EVERY_ACCOUNT = {"429": _ref("responses", "LimitedAccount"), "5XX": _ref("responses", "Broken")}
_EVERY_SECRETS = {
    "401": _ref("responses", "Unauthorized"),
    "429": _ref("responses", "LimitedSecrets"),
    "5XX": _ref("responses", "Broken"),
}
_NOT_IN = "Credentials that are missing, contradict each other, or do not belong together."
_NO_FORM = _refused("400", None, "A body that is no form in UTF-8.")
_NO_ACCOUNT = _problem("No such account, or one that the caller has no right over.", ["Invalid API Key"])
_NO_SECRET = _problem("No such account or no such secret, for this caller.", ["Invalid API Key", "Invalid ID"])
_IN_FORM = "The credentials may also stand in the form, as `api_key` and `api_secret`."

_OPERATIONS: dict[Operation, Json] = {
    Operation.BALANCE: _ACCOUNT
    | {
        "summary": "Tell the balance",
        "responses": {
            "200": _told("The balance.", _ref("schemas", "Balance")),
            "401": _refused("401", ["authentication failed"], _NOT_IN, headers=_CHALLENGE),
            **_EVERY_ACCOUNT,
        },
    },
    Operation.TOP_UP: _ACCOUNT
    | {
        "summary": "Repeat the payment of the auto-reload",
        "description": f"Adds a fixed amount to the balance, each time. {_IN_FORM}",
        "requestBody": _form(
            {"trx": {"type": "string", "minLength": 1, "description": "The reference of the payment to repeat."}},
            ["trx"],
        ),
        "responses": {
            "200": _told("The amount was added.", _ref("schemas", "ToppedUp")),
            "400": _NO_FORM,
            "401": _refused(
                "401",
                ["authentication failed", "not auto-reload enabled", "trx is required"],
                f"{_NOT_IN} Or there is no payment to repeat; only the label tells which.",
            ),
            **_EVERY_ACCOUNT,
        },
    },
    Operation.SETTINGS: _ACCOUNT
    | {
        "summary": "Change the callbacks, tell the settings",
        "description": f"Either both callbacks are changed or none. {_IN_FORM}",
        "requestBody": _form(
            {
                "moCallBackUrl": _callback("inbound messages"),
                "drCallBackUrl": _callback("delivery receipts"),
                "moCallbackUrl": _callback("inbound messages", deprecated=True),
                "drCallbackUrl": _callback("delivery receipts", deprecated=True),
            },
            [],
        ),
        "responses": {
            "200": _told("The settings as they are now.", _ref("schemas", "Settings")),
            "400": _NO_FORM,
            "401": _refused("401", ["authentication failed"], _NOT_IN, headers=_CHALLENGE),
            "420": _refused("420", None, "A callback that is no URL or, if that is checked, does not answer with 200."),
            **_EVERY_ACCOUNT,
        },
    },
    Operation.LIST: _SECRETS
    | {
        "summary": "List the secrets",
        "parameters": [_ref("parameters", "ApiKey")],
        "responses": {
            "200": {
                "description": "All live secrets, oldest first.",
                "content": {"application/json": {"schema": _ref("schemas", "Secrets")}},
            },
            "404": _NO_ACCOUNT,
            **_EVERY_SECRETS,
        },
    },
    Operation.CREATE: _SECRETS
    | {
        "summary": "Add a secret",
        "parameters": [_ref("parameters", "ApiKey")],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["secret"],
                        "properties": {"secret": _ref("schemas", "SecretValue")},
                    }
                }
            },
        },
        "responses": {
            "201": {
                "description": "The secret is listed from now on; it may take a moment until it authenticates.",
                "content": {"application/json": {"schema": _ref("schemas", "Secret")}},
                "links": {"show": _link(Operation.GET), "revoke": _link(Operation.REVOKE)},
            },
            "400": _problem(
                "A value against the rules, or as many secrets already as the account may have.",
                ["Bad Request", "Secret Addition Forbidden"],
            ),
            "403": _problem("As many secrets already, if the emulator says it so.", ["Secret Addition Forbidden"]),
            "404": _NO_ACCOUNT,
            **_EVERY_SECRETS,
        },
    },
    Operation.GET: _SECRETS
    | {
        "summary": "Show a secret",
        "parameters": [_ref("parameters", "ApiKey"), _ref("parameters", "SecretId")],
        "responses": {
            "200": {
                "description": "Everything about it but its value.",
                "content": {"application/json": {"schema": _ref("schemas", "Secret")}},
            },
            "404": _NO_SECRET,
            **_EVERY_SECRETS,
        },
    },
    Operation.REVOKE: _SECRETS
    | {
        "summary": "Revoke a secret",
        "description": "It stops authenticating at once. A secret may revoke itself.",
        "parameters": [_ref("parameters", "ApiKey"), _ref("parameters", "SecretId")],
        "responses": {
            "204": {"description": "It is gone."},
            "403": _problem("The account's only secret, which has to stay.", ["Secret Deletion Forbidden"]),
            "404": _NO_SECRET,
            **_EVERY_SECRETS,
        },
    },
}
