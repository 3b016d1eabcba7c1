"""How the demo looks. With --json its story is on standard error, and its result on standard output."""

import shutil
import sys
from typing import Any

from rich.text import Text

from rotator.cli.terminal import console, new_table
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
    out = console(stderr=err)
    for head, line in zip((title, *[""] * len(lines)), lines, strict=False):
        out.print(Text.assemble((f"{head:11}", "bold"), line), soft_wrap=True)


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
    out = console(stderr=to_stderr)
    table = new_table("account", "published in Vault", "version", "live at the provider", "first secret")
    for account in result.accounts:
        first = Text("still live", style="red") if account.first_lives else Text("revoked")
        secret = f"{'•' * 8} ({account.length} characters)"
        table.add_row(account.name, secret, str(account.version), str(account.live), first)
    out.print()
    out.print(table)
    refused = Text("never refused", style="bold green")
    if result.consumer_failures:
        refused = Text(f"{result.consumer_failures} of them refused", style="bold red")
    checks = (str(result.consumer_checks), "bold")
    sentence = Text.assemble("A consumer read Vault and used each secret ", checks, " times, ", refused, ".")
    out.print()
    out.print(sentence, soft_wrap=True)


def print_connection(stage: Stage, *, to_stderr: bool) -> None:
    """Print the commands that use the running servers."""
    command = "rotator" if shutil.which("rotator") else sys.argv[0]
    console(stderr=to_stderr).print(
        f"\nThe servers run until Ctrl-C. In another terminal:\n\n"
        f"  export ROTATOR_CONFIG={stage.folder}/config.toml\n"
        f"  {command} status\n"
        f"  {command} rotate-now alerts\n"
        f"  {command} run                      # the daemon; its status page is at http://127.0.0.1:9464\n"
        f"  export BAO_ADDR={stage.bao.address} BAO_TOKEN=$(cat {stage.folder}/token)\n"
        f"  bao kv get -mount=secret demo/alerts",
        soft_wrap=True,
    )
