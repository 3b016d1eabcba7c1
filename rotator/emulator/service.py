"""What each operation of the Account API does."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from rotator.emulator.accounts import FOREVER, Accounts
from rotator.emulator.callbacks import require_answer, require_url
from rotator.emulator.faults import Fault
from rotator.emulator.limits import USUAL_CALLS
from rotator.emulator.operations import Operation
from rotator.emulator.problems import MissingTransactionError, ValidationError
from rotator.emulator.profiles import FORWARD_METHODS, Profile, Profiles
from rotator.emulator.revisions import Revision
from rotator.emulator.wire import Call, answer, link, parse_secret, represent, require_form

_TOPPED_UP = {"error-code": "200", "error-code-label": "success"}
# As the specification spells them, then as official SDKs do.
_MO_CALLBACK = ("moCallBackUrl", "moCallbackUrl")
_DR_CALLBACK = ("drCallBackUrl", "drCallbackUrl")


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call, and what its log entry needs to know."""

    response: Response
    secret_id: str | None = None
    authenticated_as: str | None = None


class Service:
    """The operations, on accounts and their profiles.

    Args:
        max_calls_per_second: The limit that the settings show; None for the usual one.
        check_callbacks: Whether a callback must answer before it is accepted.
    """

    def __init__(
        self, accounts: Accounts, profiles: Profiles, *, max_calls_per_second: int | None, check_callbacks: bool
    ) -> None:
        self._accounts = accounts
        self._profiles = profiles
        self._max_calls_per_second = max_calls_per_second
        self._check_callbacks = check_callbacks

    async def perform(self, call: Call, api_key: str, fault: Fault | None) -> Reply:
        """Perform the operation of a call on an account, under a fault of its content or without one.

        Raises:
            ProblemError: If the operation is refused.
        """
        match call.operation:
            case Operation.BALANCE:
                return Reply(answer(call, _balance(self._profiles.of(api_key))))
            case Operation.TOP_UP:
                if not require_form(call).get("trx"):
                    raise MissingTransactionError
                self._profiles.top_up(api_key)
                said = _TOPPED_UP if call.revision == Revision.V1_0_4 else {"response": "success"} | _TOPPED_UP
                return Reply(answer(call, said))
            case Operation.SETTINGS:
                settings = self._settings(await self._change_settings(call, api_key))
                return Reply(answer(call, settings if fault is None else _without_limits(settings)))
            case Operation.LIST:
                secrets = [represent(api_key, secret) for secret in self._accounts.listed(api_key, fault)]
                links = link(f"/accounts/{api_key}/secrets")
                return Reply(answer(call, {"_links": links, "_embedded": {"secrets": secrets}}))
            case Operation.CREATE:
                propagation = None if fault is None else fault.delay or FOREVER
                secret = self._accounts.create(api_key, parse_secret(call.body), propagation=propagation)
                return Reply(answer(call, represent(api_key, secret), 201), secret.id)
            case Operation.GET:
                secret = self._accounts.secret(api_key, call.secret_id or "")
                return Reply(answer(call, represent(api_key, secret)), secret.id)
            case Operation.REVOKE:
                self._accounts.revoke(api_key, call.secret_id or "")
                return Reply(Response(status_code=204), call.secret_id)

    async def _change_settings(self, call: Call, api_key: str) -> Profile:
        """Change all settings of the form or, if one is refused, none."""
        form = require_form(call)
        method = form.get("httpForwardMethod") if call.revision == Revision.V1_0_4 else None
        if method is not None and method not in FORWARD_METHODS:
            raise ValidationError("httpForwardMethod", f"Is none of {', '.join(FORWARD_METHODS)}")
        given = [(name, form[name]) for name in (*_MO_CALLBACK, *_DR_CALLBACK) if form.get(name)]
        for name, url in given:
            require_url(name, url)
        if self._check_callbacks:
            for name, url in given:
                await require_answer(name, url)
        mo, dr = (next((form[name] for name in names if name in form), None) for names in (_MO_CALLBACK, _DR_CALLBACK))
        return self._profiles.change(api_key, mo_callback_url=mo, dr_callback_url=dr, http_forward_method=method)

    def _settings(self, profile: Profile) -> dict[str, str | int]:
        return {
            "mo-callback-url": profile.mo_callback_url,
            "dr-callback-url": profile.dr_callback_url,
            "max-outbound-request": USUAL_CALLS,
            "max-inbound-request": USUAL_CALLS,
            "max-calls-per-second": self._max_calls_per_second or USUAL_CALLS,
        }


def _balance(profile: Profile) -> dict[str, float | bool]:
    return {"value": float(profile.balance), "autoReload": profile.auto_reload}


def _without_limits(settings: Mapping[str, str | int]) -> Mapping[str, str | int]:
    return {name: value for name, value in settings.items() if not name.startswith("max-")}
