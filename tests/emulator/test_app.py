"""The routes of the emulator."""

import pytest

from tests.emulator.harness import KEY, PATH, problem, world


@pytest.mark.parametrize(("method", "path"), [("PUT", PATH), ("DELETE", PATH), ("POST", f"{PATH}/id"), ("PATCH", PATH)])
def test_wrong_method_names_the_allowed_ones(method: str, path: str) -> None:
    with world() as w:
        response = w.client.request(method, path)
        problem(response, 405, "Method Not Allowed")
        assert "GET" in response.headers["allow"]


@pytest.mark.parametrize("path", ["/", "/accounts", f"/accounts/{KEY}", f"{PATH}/", f"{PATH}/id/more"])
def test_unknown_path_is_a_problem(path: str) -> None:
    with world() as w:
        problem(w.client.get(path), 404, "Not Found")
