"""Answers of HashiCorp Vault as publicly recorded, beside OpenBao's.

HashiCorp Vault is not run by these tests: its rows are replayed only. Each one names where its text was published. A
test records OpenBao's rows from a real server and compares them with this table.
"""

import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

VAULT, OPENBAO = "HashiCorp Vault", "OpenBao"
BAO_2_7 = "recorded by tests/vault/test_diagnosis.py"
POLICY = "1 error occurred:\n\t* permission denied\n\n"
KV_UPGRADE = (
    "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will "
    "resume service shortly."
)
KV_PATH = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the OpenBao CLI, use 'bao kv get' for this operation."
)


class Meaning(Enum):
    """What an answer means for the session."""

    TOKEN_REFUSED = auto()
    POLICY_DENIED = auto()
    LOGIN_REFUSED = auto()
    SEALED = auto()
    HEALTH = auto()
    TEMPORARY = auto()
    """Not carried out; a retry within seconds can succeed."""
    RATE_LIMITED = auto()
    CONFLICT = auto()
    WRONG_MOUNT = auto()
    HIDDEN_MOUNT = auto()
    NEVER_WRITTEN = auto()
    WITHOUT_DATA = auto()
    WRAPPED = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Recorded:
    """An answer.

    Attributes:
        name: What was asked of the server, in words.
        server: Whose answer it is.
        versions: The versions for which it was published, or which were run.
        source: Where it was published.
        status: The HTTP status.
        body: The JSON body. In a health answer, only the fields that rotator reads.
        meaning: What it means.
    """

    name: str
    server: str
    versions: str
    source: str
    status: int
    meaning: Meaning
    body: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.server} {self.versions}: {self.name}"

    @property
    def content(self) -> bytes:
        """The body as it comes."""
        return json.dumps(self.body).encode()


def _vault(name: str, versions: str, source: str, status: int, meaning: Meaning, *errors: str, **body: Any) -> Recorded:
    return Recorded(name, VAULT, versions, source, status, meaning, body or {"errors": list(errors)})


def _bao(name: str, status: int, meaning: Meaning, *errors: str, **body: Any) -> Recorded:
    return Recorded(name, OPENBAO, "2.7", BAO_2_7, status, meaning, body or {"errors": list(errors)})


def _health(**changes: Any) -> dict[str, Any]:
    return {"initialized": True, "sealed": False, "standby": False, "version": "1.20.0", **changes}


_HEALTH_SOURCE = "hashicorp/vault http/sys_health.go at 05aae7c6"

ANSWERS = (
    # --- a token that does not exist, has ended or was revoked
    _vault("invalid token", "0.6.1", "hashicorp/vault#1878", 403, Meaning.TOKEN_REFUSED, "permission denied"),
    _vault(
        "invalid token", "1.x, 2020", "dapr/components-contrib#524", 403, Meaning.TOKEN_REFUSED, "permission denied"
    ),
    _vault(
        "invalid token",
        "1.17.0 and later",
        "hashicorp/vault CHANGELOG.md 1.17.0, #25953, #26687; its UI tests contain the text",
        403,
        Meaning.TOKEN_REFUSED,
        "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
    ),
    _bao("invalid token", 403, Meaning.TOKEN_REFUSED, "permission denied"),
    _vault("no token", "0.6.4", "hashicorp/vault#2304", 400, Meaning.TOKEN_REFUSED, "missing client token"),
    _vault("no token", "before 1.5", "hashicorp/vault#8457", 500, Meaning.TOKEN_REFUSED, "missing client token"),
    _bao("no token", 403, Meaning.TOKEN_REFUSED, "permission denied"),
    # --- a policy
    _vault(
        "policy",
        "0.6",
        "hashicorp/vault#1866 (audit log)",
        403,
        Meaning.POLICY_DENIED,
        "1 error(s) occurred:\n\n* permission denied",
    ),
    _vault("policy", "1.1.0", "hashicorp/vault#6554", 403, Meaning.POLICY_DENIED, POLICY),
    _vault("policy", "1.5.3", "rajanadar/VaultSharp#176", 403, Meaning.POLICY_DENIED, POLICY),
    _bao("policy", 403, Meaning.POLICY_DENIED, POLICY),
    # --- logins
    _vault(
        "AppRole locked out",
        "1.13 and later",
        "hashicorp/vault website/content/partials/user-lockout.mdx, #18478; text as in #21507",
        403,
        Meaning.LOGIN_REFUSED,
        "permission denied",
    ),
    _bao("AppRole locked out", 403, Meaning.LOGIN_REFUSED, "permission denied"),
    _vault("wrong secret id", "0.10", "hashicorp/vault#4955", 400, Meaning.LOGIN_REFUSED, "invalid secret id"),
    _vault("wrong role id", "1.3", "rajanadar/VaultSharp#115", 400, Meaning.LOGIN_REFUSED, "invalid role ID"),
    _bao("wrong secret id", 400, Meaning.LOGIN_REFUSED, "invalid role or secret ID"),
    # --- the state of a server
    _vault("sealed", "0.6", "hashicorp/vault#2129", 503, Meaning.SEALED, "Vault is sealed"),
    _vault("sealed", "1.x, 2020", "namecheap/node-vault-client#12", 503, Meaning.SEALED, "Vault is sealed"),
    _bao("sealed", 503, Meaning.SEALED, "Vault is sealed"),
    _vault("health of a standby", "1.x", _HEALTH_SOURCE, 429, Meaning.HEALTH, **_health(standby=True)),
    _vault(
        "health of a disaster recovery secondary",
        "1.x Enterprise",
        _HEALTH_SOURCE,
        472,
        Meaning.HEALTH,
        **_health(replication_dr_mode="secondary"),
    ),
    _vault(
        "health of a performance standby",
        "1.x Enterprise",
        _HEALTH_SOURCE,
        473,
        Meaning.HEALTH,
        **_health(standby=True, performance_standby=True),
    ),
    _vault("health of a sealed server", "1.x", _HEALTH_SOURCE, 503, Meaning.HEALTH, **_health(sealed=True)),
    _bao("health of a standby", 429, Meaning.HEALTH, **_health(standby=True, version="")),
    _bao(
        "health of a sealed server",
        503,
        Meaning.HEALTH,
        **_health(sealed=True, standby=True, version=""),
    ),
    _vault(
        "standby without a leader",
        "0.10 and later",
        "hashicorp/vault http/handler.go",
        500,
        Meaning.TEMPORARY,
        "local node not active but active cluster node not found",
    ),
    _vault(
        "standby that is behind",
        "1.10 and later",
        "hashicorp/vault sdk/logical/error.go, sdk/logical/response_util.go at 0b7edc1e, #15770",
        412,
        Meaning.TEMPORARY,
        "required index state not present",
    ),
    _vault(
        "rate limit quota",
        "1.5.4",
        "hashicorp/vault#10191",
        429,
        Meaning.RATE_LIMITED,
        'request path "pki/issue/testrole": rate limit quota exceeded',
    ),
    _bao("rate limit quota", 429, Meaning.RATE_LIMITED, 'request path "MOUNT/data/x": rate limit quota exceeded'),
    # --- documents
    _vault(
        "check-and-set mismatch",
        "1.7.0",
        "hashicorp/vault#15676",
        400,
        Meaning.CONFLICT,
        "check-and-set parameter did not match the current version",
    ),
    _bao("check-and-set mismatch", 400, Meaning.CONFLICT, "check-and-set parameter did not match the current version"),
    _vault("mount that upgrades", "1.12", "hashicorp/vault#16705", 400, Meaning.TEMPORARY, KV_UPGRADE),
    _vault(
        "mount that upgrades on a secondary",
        "1.x Enterprise",
        "hashicorp/vault-plugin-secrets-kv upgrade.go",
        400,
        Meaning.TEMPORARY,
        "Waiting for the primary to upgrade from non-versioned to versioned data. This backend will be unavailable for "
        "a brief period and will resume service when the primary is finished.",
    ),
    _vault(
        "wrapped answer",
        "1.x",
        "hashicorp/vault website/content/api-docs/system/wrapping-wrap.mdx",
        200,
        Meaning.WRAPPED,
        data=None,
        wrap_info={
            "token": "fb79b9d3-d94e-9eb6-4919-c559311133d6",
            "ttl": 300,
            "creation_time": "2016-09-28T14:41:00.56961496-04:00",
            "creation_path": "sys/wrapping/wrap",
        },
    ),
    _bao("wrapped answer", 200, Meaning.WRAPPED, data=None, wrap_info={"creation_path": "MOUNT/data/x", "ttl": 60}),
    _vault(
        "missing document",
        "1.x",
        "hashicorp/vault sdk/logical/response_util.go at 0b7edc1e",
        404,
        Meaning.NEVER_WRITTEN,
    ),
    _bao("missing document", 404, Meaning.NEVER_WRITTEN),
    _vault(
        "deleted version",
        "1.x",
        "hashicorp/vault website/content/api-docs/secret/kv/kv-v2.mdx",
        404,
        Meaning.WITHOUT_DATA,
        data={
            "data": None,
            "metadata": {
                "created_time": "2018-03-22T02:24:06.945319214Z",
                "deletion_time": "2018-03-22T02:36:43.986212308Z",
                "destroyed": False,
                "version": 1,
            },
        },
    ),
    _bao("deleted version", 404, Meaning.WITHOUT_DATA, data={"data": None, "metadata": {"version": 1}}),
    # --- mounts and namespaces
    _vault(
        "missing mount",
        "1.8.3",
        "external-secrets/kubernetes-external-secrets#857",
        404,
        Meaning.WRONG_MOUNT,
        "no handler for route 'kv/data/demo-app/user01'",
    ),
    _vault(
        "missing mount",
        "1.x, 2024",
        "suxess-it/kubriX#664",
        404,
        Meaning.WRONG_MOUNT,
        'no handler for route "sx-cnp-oss-kv/data/demo/delivery". route entry not found.',
    ),
    _bao(
        "missing mount",
        404,
        Meaning.WRONG_MOUNT,
        'no handler for route "nowhere/data/x". route entry not found.',
    ),
    _bao(
        "path below a mount",
        404,
        Meaning.WRONG_MOUNT,
        warnings=[KV_PATH],
    ),
    _vault(
        "hidden mount",
        "1.7.0",
        "hashicorp/vault#11434",
        403,
        Meaning.HIDDEN_MOUNT,
        'preflight capability check returned 403, please ensure client\'s policies grant access to path "nonexistent/"',
    ),
    _bao(
        "hidden mount",
        403,
        Meaning.HIDDEN_MOUNT,
        'preflight capability check returned 403, please ensure client\'s policies grant access to path "nowhere/"',
    ),
    _vault(
        "namespace of a server without namespaces",
        "1.x Community",
        "hashicorp/vault vault/request_handling.go at 00c3d11f",
        403,
        Meaning.WRONG_MOUNT,
        "namespaces feature not enabled",
    ),
    _bao("missing namespace", 404, Meaning.WRONG_MOUNT, "namespace not found"),
    # --- requests that the server cannot carry out
    _vault(
        "too large a document",
        "1.x",
        "hashicorp/vault sdk/logical/response_util.go at 0b7edc1e",
        413,
        Meaning.REFUSED,
        "http: request body too large",
    ),
    _bao("too large a document", 413, Meaning.REFUSED, "http: request body too large"),
    _bao("unsupported method", 405, Meaning.REFUSED, "1 error occurred:\n\t* unsupported operation\n\n"),
)
