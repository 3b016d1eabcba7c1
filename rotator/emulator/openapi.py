"""The emulated API as an OpenAPI 3.1 document.

It is stricter than what the provider publishes: it says which values are taken, every way to be refused, and that
answers hold nothing else. The tests send whatever it allows, and what it does not, and compare.
"""

from dataclasses import dataclass
from typing import Any

from rotator import __version__
from rotator.emulator.accounts import API_KEY
from rotator.emulator.operations import Operation
from rotator.emulator.revisions import Revision
from rotator.emulator.schemas import Json, object_of, ref, schemas, settings_form

_OVERVIEW = (
    "An emulator of the Account API of Nexmo, now Vonage, with both of its hosts on one port. It keeps everything in "
    "memory, bills nothing, and can be told to go wrong: any operation may then answer 429 or the page of a broken "
    "gateway, or not at all."
)


def document(revision: Revision = Revision.V1_0_0) -> Json:
    """The whole document of a revision, as JSON values."""
    dialect = _Dialect(revision)
    paths: Json = {}
    for operation, described in _operations(dialect).items():
        paths.setdefault(operation.path, {})[operation.method.lower()] = {"operationId": str(operation), **described}
    responses = _responses(dialect)
    for described in (*(each for path in paths.values() for each in path.values()), {"responses": responses}):
        for response in described["responses"].values():
            dialect.add_headers(response)
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
            {"name": "Account", "description": "The balance and settings of an account. Answers in JSON or XML."},
            {"name": "Secrets", "description": "The secrets that an account authenticates with. Answers in JSON."},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": _BASIC if revision == Revision.V1_0_4 else _BASIC | _QUERY,
            "parameters": {"ApiKey": _API_KEY, "SecretId": _SECRET_ID},
            "schemas": schemas(revision),
            "responses": responses,
        },
    }


# --- pieces --------------------------------------------------------------------------------------------------


def _header(description: str, schema: Json) -> Json:
    return {"description": description, "required": True, "schema": schema}


def _told(description: str, schema: Json, **more: Any) -> Json:
    """An answer in either form."""
    content = {"application/json": {"schema": schema}, "application/xml": {"schema": schema}}
    return {"description": description, "content": content, **more}


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a revision refuses."""

    revision: Revision

    def refused(
        self, code: str, titles: dict[str | None, str], description: str, *, headers: Json | None = None
    ) -> Json:
        """A refusal of an operation on the account; the titles are given by the label of the older dialect."""
        if self.revision == Revision.V1_0_4:
            return self.problem(description, list(titles.values()), headers=headers)
        label = {"type": "string", "minLength": 1} if None in titles else {"type": "string", "enum": list(titles)}
        answer = _told(description, object_of({"error-code": {"const": code}, "error-code-label": label}))
        return answer | ({"headers": headers} if headers else {})

    def problem(self, description: str, titles: list[str], *, headers: Json | None = None) -> Json:
        """A refusal after RFC 7807."""
        if titles[:1] == ["Unauthorized"] and self.revision == Revision.V1_0_4:
            titles = ["Unauthorized", "Unprovisioned", *titles[1:]]
        titled = {"type": "object", "properties": {"title": {"enum": titles}}}
        schema = {"allOf": [ref("schemas", "Problem"), titled]}
        media_type = "application/problem+json" if self.revision == Revision.V1_0_4 else "application/json"
        answer = {"description": description, "content": {media_type: {"schema": schema}}}
        return answer | ({"headers": headers} if headers else {})

    def add_headers(self, response: Json) -> None:
        """Add the headers of every answer to a response that is none by reference."""
        if self.revision == Revision.V1_0_4 and "$ref" not in response:
            response["headers"] = response.get("headers", {}) | _REQUEST_ID


def _form(properties: Json, required: list[str]) -> Json:
    """A form; unknown fields are ignored."""
    schema = {"type": "object", "properties": properties, "required": required}
    return {"required": bool(required), "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


def _link(to: Operation) -> Json:
    parameters = {"api_key": "$request.path.api_key", "secret_id": "$response.body#/id"}  # nosec B105
    return {"operationId": str(to), "parameters": parameters}


_CHALLENGE = {"WWW-Authenticate": _header("How to authenticate.", {"const": "Basic"})}
_WHOLE = {"type": "integer", "minimum": 0}
_RETRY_AFTER = {"Retry-After": _header("Seconds to wait.", _WHOLE)}
_RATE_LIMIT = {
    "X-RateLimit-Limit": _header("Calls that the key may make in a period.", _WHOLE),
    "X-RateLimit-Remaining": _header("Calls that it has left.", _WHOLE),
    "X-RateLimit-Reset": _header("When it has all of them again, in milliseconds of Unix time.", _WHOLE),
}
_REQUEST_ID = {"X-Request-Id": _header("The id of the request.", {"type": "string", "format": "uuid"})}

_BASIC = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The API key as user, one of its secrets as password. "
        "A primary's may stand in for a secondary's where the path names the account.",
    },
}
_QUERY = {
    "queryKey": {"type": "apiKey", "in": "query", "name": "api_key", "description": "The API key."},
    "querySecret": {"type": "apiKey", "in": "query", "name": "api_secret", "description": "Its secret."},
}

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
_SECRETS: Json = {"tags": ["Secrets"], "security": [{"basic": []}]}
_EVERY_SECRETS = {
    "401": ref("responses", "Unauthorized"),
    "429": ref("responses", "LimitedSecrets"),
    "5XX": ref("responses", "Broken"),
}
_NOT_IN = "Credentials that are missing, contradict each other, or do not belong together."
_NOT_IN_LABELS: dict[str | None, str] = {"authentication failed": "Unauthorized"}
_NO_TOP_UP = _NOT_IN_LABELS | {
    "not auto-reload enabled": "Not Auto-Reload Enabled",
    "trx is required": "TRX Is Required",
}


def _responses(dialect: _Dialect) -> Json:
    """Responses of several operations."""
    headers = _RETRY_AFTER | (_RATE_LIMIT if dialect.revision == Revision.V1_0_4 else {})
    broken = {"text/html": {"schema": {"type": "string"}}}
    failed = dialect.problem("", ["Internal Error"])["content"] if dialect.revision == Revision.V1_0_4 else {}
    return {
        "LimitedAccount": dialect.refused(
            "429", {"rate limit hit": "Rate Limit Hit"}, "Too many calls.", headers=headers
        ),
        "LimitedSecrets": dialect.problem("Too many calls.", ["Rate Limit Hit"], headers=headers),
        "Unauthorized": dialect.problem(
            "No credentials, unreadable ones, or a key and a secret that do not belong together.",
            ["Unauthorized"],
            headers=_CHALLENGE,
        ),
        "Broken": {
            "description": "A broken gateway; only ever as a fault. It may have been done all the same.",
            "content": broken | failed,
        },
    }


def _operations(dialect: _Dialect) -> dict[Operation, Json]:
    """Every operation of a revision."""
    is_first = dialect.revision == Revision.V1_0_0
    query: list[Json] = [{"queryKey": [], "querySecret": []}] if is_first else []
    account: Json = {"tags": ["Account"], "security": [{"basic": []}, *query]}
    every_account = {"429": ref("responses", "LimitedAccount"), "5XX": ref("responses", "Broken")}
    not_in = dialect.refused("401", _NOT_IN_LABELS, _NOT_IN, headers=_CHALLENGE)
    no_form = dialect.refused("400", {None: "Bad Request"}, "A body that is no form in UTF-8.")
    no_account = dialect.problem("No such account, or one that the caller has no right over.", ["Invalid API Key"])
    no_secret = dialect.problem(
        "No such account or no such secret, for this caller.", ["Invalid API Key", "Invalid ID"]
    )
    in_form = " The credentials may also stand in the form, as `api_key` and `api_secret`." if is_first else ""
    return {
        Operation.BALANCE: account
        | {
            "summary": "Tell the balance",
            "responses": {
                "200": _told("The balance.", ref("schemas", "Balance")),
                "401": not_in,
                **every_account,
            },
        },
        Operation.TOP_UP: account
        | {
            "summary": "Repeat the payment of the auto-reload",
            "description": f"Adds a fixed amount to the balance, each time.{in_form}",
            "requestBody": _form(
                {"trx": {"type": "string", "minLength": 1, "description": "The reference of the payment to repeat."}},
                ["trx"],
            ),
            "responses": {
                "200": _told("The amount was added.", ref("schemas", "ToppedUp")),
                "400": no_form,
                "401": dialect.refused(
                    "401",
                    _NO_TOP_UP,
                    f"{_NOT_IN} Or there is no payment to repeat; only the label or the title says which.",
                ),
                **every_account,
            },
        },
        Operation.SETTINGS: account
        | {
            "summary": "Change the callbacks, tell the settings",
            "description": f"Either both callbacks are changed or none.{in_form}",
            "requestBody": _form(settings_form(dialect.revision), []),
            "responses": {
                "200": _told("The settings as they are now.", ref("schemas", "Settings")),
                "400": no_form,
                "401": not_in,
                "420": dialect.refused(
                    "420",
                    {None: "Invalid Callback URL"},
                    "A callback that is no URL or, if that is checked, does not answer with 200.",
                ),
                **every_account,
            },
        },
        Operation.LIST: _SECRETS
        | {
            "summary": "List the secrets",
            "parameters": [ref("parameters", "ApiKey")],
            "responses": {
                "200": {
                    "description": "All live secrets, oldest first.",
                    "content": {"application/json": {"schema": ref("schemas", "Secrets")}},
                },
                "404": no_account,
                **_EVERY_SECRETS,
            },
        },
        Operation.CREATE: _SECRETS
        | {
            "summary": "Add a secret",
            "parameters": [ref("parameters", "ApiKey")],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["secret"],
                            "properties": {"secret": ref("schemas", "SecretValue")},
                        }
                    }
                },
            },
            "responses": {
                "201": {
                    "description": "The secret is listed from now on; it may take a moment until it authenticates.",
                    "content": {"application/json": {"schema": ref("schemas", "Secret")}},
                    "links": {"show": _link(Operation.GET), "revoke": _link(Operation.REVOKE)},
                },
                "400": dialect.problem(
                    "A value against the rules, or as many secrets already as the account may have.",
                    ["Bad Request", "Secret Addition Forbidden"],
                ),
                "403": dialect.problem(
                    "As many secrets already, if the emulator says it so.", ["Secret Addition Forbidden"]
                ),
                "404": no_account,
                **_EVERY_SECRETS,
            },
        },
        Operation.GET: _SECRETS
        | {
            "summary": "Show a secret",
            "parameters": [ref("parameters", "ApiKey"), ref("parameters", "SecretId")],
            "responses": {
                "200": {
                    "description": "Everything about it but its value.",
                    "content": {"application/json": {"schema": ref("schemas", "Secret")}},
                },
                "404": no_secret,
                **_EVERY_SECRETS,
            },
        },
        Operation.REVOKE: _SECRETS
        | {
            "summary": "Revoke a secret",
            "description": "It stops authenticating at once. A secret may revoke itself.",
            "parameters": [ref("parameters", "ApiKey"), ref("parameters", "SecretId")],
            "responses": {
                "204": {"description": "It is gone."},
                **({} if is_first else {"400": dialect.problem("Only ever as a fault.", ["Bad Request"])}),
                "403": dialect.problem("The account's only secret, which has to stay.", ["Secret Deletion Forbidden"]),
                "404": no_secret,
                **_EVERY_SECRETS,
            },
        },
    }
