"""How the demo looks. With --json its story is on standard error, and its result on standard output."""

import shutil
import sys
from typing import Any

from rotator.cli.terminal import Styled, Table, echo
from rotator.demo import GRACE, DemoResult, Scene, Stage

_STORY = {
    Scene.ADOPT: (
        "2 adopt",
        "main and alerts with the secrets they have, shop through its primary;",
        "rotator did not create shop's first secret: resolve revokes it",
    ),
    Scene.ROTATE: (
        "3 rotate",
        f"create, verify, publish, keep the previous secret {GRACE.seconds} s, revoke it",
    ),
}


def print_servers(stage: Stage, *, to_stderr: bool) -> None:
    """Print the addresses of the servers."""
    bao = stage.bao
    _print("1 servers", f"OpenBao {bao.version} at {bao.address}", f"Account API   at {stage.api_url}", err=to_stderr)


def print_scene(scene: Scene, *, to_stderr: bool) -> None:
    """Print the next part of the story."""
    _print(*_STORY[scene], err=to_stderr)


def _print(title: str, *lines: str, err: bool) -> None:
    for head, line in zip((title, *[""] * len(lines)), lines, strict=False):
        echo(Styled(f"{head:11}", bold=True), line, stderr=err)


def result_json(result: DemoResult) -> dict[str, Any]:
    """The result, for programs."""
    return {
        "accounts": len(result.accounts),
        "rotated": result.rotated,
        "verified": result.verified,
        "revoked": result.revoked,
        "consumer_checks": result.consumer_checks,
        "consumer_failures": result.consumer_failures,
    }


def print_result(result: DemoResult, *, to_stderr: bool) -> None:
    """Print each account, and how the consumer fared."""
    table = Table(("account", "published in Vault", "version", "live at the provider", "first secret"))
    for account in result.accounts:
        first = Styled("still live", "red") if account.first_lives else "revoked"
        secret = f"{'•' * 8} ({account.length} characters)"
        table.rows.append((account.name, secret, str(account.version), str(account.live), first))
    echo(stderr=to_stderr)
    table.print(stderr=to_stderr)
    refused = Styled("never refused", "green", bold=True)
    if result.consumer_failures:
        refused = Styled(f"{result.consumer_failures} of them refused", "red", bold=True)
    checks = Styled(str(result.consumer_checks), bold=True)
    echo(stderr=to_stderr)
    echo("A consumer read a published secret and used it ", checks, " times, ", refused, ".", stderr=to_stderr)


def print_connection(stage: Stage, *, to_stderr: bool) -> None:
    """Print the commands that use the running servers."""
    command = "rotator" if shutil.which("rotator") else sys.argv[0]
    echo(
        f"\nThe servers run until Ctrl-C. In another terminal:\n\n"
        f"  export ROTATOR_CONFIG={stage.folder}/config.toml\n"
        f"  {command} status\n"
        f"  {command} rotate-now alerts\n"
        f"  {command} run                      # the daemon; its status page is at http://127.0.0.1:9464\n"
        f"  export BAO_ADDR={stage.bao.address} BAO_TOKEN=$(cat {stage.folder}/token)\n"
        f"  bao kv get -mount=secret demo/alerts",
        stderr=to_stderr,
    )
