"""Values of the Account API."""

from enum import StrEnum


class HttpForwardMethod(StrEnum):
    """HTTP request with which the provider calls an account's webhooks."""

    GET_QUERY_PARAMS = "GET_QUERY_PARAMS"
    POST_QUERY_PARAMS = "POST_QUERY_PARAMS"
    POST_JSON = "POST_JSON"
