"""Questions on the terminal: --yes, an answer, the end of the input, and a signal."""

import os
import pty
import signal
import subprocess

import pytest
from pydantic import SecretStr

from rotator.emulator import Operation
from testkit.cluster import Cluster, Finished
from tests.cli.harness import Here, Payments, everything, said
from tests.cli.managed import NOBODY, TRX
from tests.cli.pseudo_terminal import on_terminal, plain

AGREED = "[y/N]: "
CHANGING = [
    "top-up payments --trx-env MY_TRX",
    "settings payments --mo-callback-url https://example.com/in",
    "settings payments --http-forward-method POST_JSON",
    "secrets create payments --out new",
    f"secrets revoke payments {NOBODY}",
]


@pytest.mark.parametrize("command", CHANGING)
def test_change_requires_yes_without_a_terminal(payments: Payments, here: Here, command: str) -> None:
    before = everything(payments.cluster)
    finished = here("account", *command.split(), MY_TRX=TRX)
    assert finished.code == 2
    assert said(finished) == "There is no terminal to ask on: if you mean it, add --yes."
    assert everything(payments.cluster) == before


def on_a_terminal(cluster: Cluster, *args: str, answers: list[str]) -> Finished:
    ours, theirs = pty.openpty()
    try:
        process = cluster.start(*args, stdin=theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        return process.finish()
    finally:
        os.close(ours)
        os.close(theirs)


def test_change_is_not_made_when_declined(adopted: Payments) -> None:
    args = ["account", "settings", "payments", "--mo-callback-url", "https://example.com/in", "--json"]
    declined = on_a_terminal(adopted.cluster, *args, answers=["n"])
    assert declined.code == 1
    assert declined.json == {"error": "Nothing was changed.", "reason": "other", "next_command": None}
    assert "payments: send inbound messages to https://example.com/in?" in declined.err
    assert adopted.cluster.emulator.profile(adopted.api_key).mo_callback_url == ""
    agreed = on_a_terminal(adopted.cluster, *args, answers=["y"])
    assert (agreed.code, agreed.json["mo_callback_url"]) == (0, "https://example.com/in")


def interrupted_at(prompt: str, cluster: Cluster, *args: str, number: signal.Signals = signal.SIGINT) -> str:
    """Send a signal while a command asks, then agree; what it showed."""

    def interrupt_then_agree(process: "subprocess.Popen[bytes]", terminal: int) -> None:
        process.send_signal(number)
        os.write(terminal, b"y\n")

    code, shown = on_terminal(cluster, *args, prompt=prompt, answer=interrupt_then_agree, MY_TRX=TRX)
    assert code == 128 + number, shown
    return plain(shown).removesuffix("y\n")  # the terminal shows what is typed, also after the program's last line


@pytest.mark.parametrize(
    ("command", "prompt"),
    [
        ("account top-up payments --trx-env MY_TRX", AGREED),
        ("account top-up payments", "Transaction of the payment for payments: "),
        ("account settings payments --mo-callback-url https://example.com/in", AGREED),
        ("account secrets create payments --out new", AGREED),
        ("account secrets create payments", "(--out FILE generates one): "),
        ("adopt payments", "API secret of payments: "),
        ("adopt payments --secret-id ID", "(empty: the published one): "),
        ("audit fingerprint abcd1234", "The value: "),
    ],
)
def test_ctrl_c_at_a_prompt_changes_nothing(rotated: Payments, command: str, prompt: str) -> None:
    before = everything(rotated.cluster)
    shown = interrupted_at(prompt, rotated.cluster, *command.split())
    assert shown.endswith("\nrotator: SIGINT: stopped. Nothing was changed.\n"), shown
    assert everything(rotated.cluster) == before
    assert Operation.TOP_UP not in {request.operation for request in rotated.cluster.emulator.requests}
    assert not (rotated.cluster.folder / "new").exists()


def test_ctrl_c_at_revoke_prompt_revokes_nothing(payments: Payments) -> None:
    payments.cluster.configure([payments.entry(grace="1h")])
    assert payments.cluster.run("rotate-now", "payments").code == 0
    before = everything(payments.cluster)
    shown = interrupted_at(AGREED, payments.cluster, "account", "secrets", "revoke", "payments", payments.live[0])
    assert shown.endswith("\nrotator: SIGINT: stopped. Nothing was changed.\n"), shown
    assert everything(payments.cluster) == before


def test_sigterm_at_the_prompt_of_resolve_revokes_nothing(rotated: Payments) -> None:
    rotated.cluster.remember("Stranger0Stranger1")
    rotated.cluster.emulator.add_secret(rotated.api_key, SecretStr("Stranger0Stranger1"))
    shown = interrupted_at(AGREED, rotated.cluster, "resolve", "payments", number=signal.SIGTERM)
    assert shown.endswith("\nrotator: SIGTERM: stopped. No unknown secret was revoked.\n"), shown
    assert len(rotated.live) == 2


@pytest.mark.parametrize("command", ["adopt payments", "adopt payments --secret-id ID", "audit fingerprint abcd1234"])
def test_end_of_input_at_a_prompt_changes_nothing(rotated: Payments, command: str) -> None:
    before = everything(rotated.cluster)

    def end_input(_: object, terminal: int) -> None:
        os.write(terminal, b"\x04")

    code, shown = on_terminal(rotated.cluster, *command.split(), prompt=": ", answer=end_input)
    assert code == 1, shown
    assert plain(shown).endswith("\nrotator: The input ended. Nothing was changed.\n"), shown
    assert everything(rotated.cluster) == before


def test_question_of_resolve_leaves_standard_output_to_json(rotated: Payments) -> None:
    """The question is on the terminal, and a program reads one object."""
    rotated.cluster.remember("Stranger0Stranger1")
    rotated.cluster.emulator.add_secret(rotated.api_key, SecretStr("Stranger0Stranger1"))
    ours, theirs = os.openpty()
    try:
        process = rotated.cluster.start("resolve", "payments", "--json", stdin=theirs)
        os.write(ours, b"n\n")
        finished = process.finish()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (finished.code, finished.json["error"]) == (
        1,
        "You chose no secret of payments. No unknown secret was revoked.",
    )
    assert AGREED in finished.err
