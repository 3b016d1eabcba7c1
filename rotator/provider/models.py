"""Values of the Account API."""

from typing import Literal

# HTTP request with which the provider calls an account's webhooks.
HttpForwardMethod = Literal["GET_QUERY_PARAMS", "POST_QUERY_PARAMS", "POST_JSON"]
