"""Does the emulator keep what an OpenAPI document promises? schemathesis asks, with every check and every phase.

It logs in as a primary and works on the secrets of its secondary, so that no case takes away the login of the next.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rotator.emulator import Emulator, Profile, parse_account, parse_primary, running

KEY, SECRET, CHILD = "primary1", "Secret12345", "child001"
PHASES = ("examples", "coverage", "fuzzing", "stateful")

# The seed: what is "deterministic" still depends on it where calls follow from one another.
_CONFIG = f"""
seed = 1
workers = 1
[cache]
enabled = false
[auth.basic]
username = "{KEY}"
password = "{SECRET}"
[generation]
deterministic = true
database = "none"
[parameters]
"path.api_key" = "{CHILD}"
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a run.

    Attributes:
        cases: How many requests were made up.
        passed: Whether every phase was completed and found nothing.
        accepted: How many failures the hooks dropped, each for a reason given there.
        answers: How often each operation answered with each status.
        text: What schemathesis printed.
    """

    cases: int
    passed: bool
    accepted: int
    answers: Counter[tuple[str, int | None]]
    text: str


def examine(
    document: Path, folder: Path, *, examples: int, config: str = "", hooks: Path | None = None, **options: Any
) -> Outcome:
    """Run schemathesis over an emulator of its own.

    Args:
        document: The OpenAPI document, which is not changed in any way.
        folder: Where the configuration and the report go.
        examples: How many cases at most an operation is given in a phase.
        config: More of schemathesis's configuration.
        hooks: A module that schemathesis is to load, by its path.
        options: More of the emulator's.
    """
    emulator = Emulator(
        [parse_account(f"{key}:{SECRET}") for key in (KEY, CHILD)],
        primaries=[parse_primary(f"{KEY}={CHILD}")],
        profile=Profile(Decimal(10), auto_reload=True),
        **options,
    )
    settings, report = folder / "schemathesis.toml", folder / "report.json"
    settings.write_text(_CONFIG + config)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", str(document.resolve())]
    environment = os.environ | ({"SCHEMATHESIS_HOOKS": str(hooks)} if hooks is not None else {})
    with running(emulator) as url:
        command += ["--url", url, "--checks", "all", "--phases", ",".join(PHASES), "--max-examples", str(examples)]
        command += ["--report-json-path", str(report), "--no-color"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not report.exists():
        raise RuntimeError(f"schemathesis did not run: {done.stdout}{done.stderr}")
    told = json.loads(report.read_text())
    return Outcome(
        cases=told["test_cases"]["generated"],
        passed=done.returncode == 0
        and told["complete"]
        and {name: phase["status"] for name, phase in told["phases"].items()} == dict.fromkeys(PHASES, "success"),
        accepted=told["filtered"],
        answers=Counter((str(request.operation), request.status) for request in emulator.requests),
        text=done.stdout + done.stderr,
    )
