"""Holds the emulator against the provider's own OpenAPI document, a file that is not part of this project.

python -m tools.schemathesis_provider account.yml

The file is read as it is; only the server's address and the credentials are given. Exits with 1 unless at least 2,000
cases passed every check. What is accepted nevertheless, and why, stands in tools/schemathesis_hooks.py.
"""

import sys
import tempfile
from pathlib import Path

from rotator import logs
from testkit.contract import KEY, SECRET, examine

CASES = 2000
EXAMPLES = 400
# Good values among the random ones, or the operations behind them would hardly ever do anything.
CONFIG = f"""
[dictionaries.secrets]
values = ["Example-4-a-secret", "Aa345678", "Another67890", "Aa34567890123456789012345"]
[dictionaries.urls]
values = ["https://example.com/inbound", "http://127.0.0.1:8080/receipts?to=1"]
[[operations]]
include-path-regex = "^/account/"
parameters = {{ "query.api_key" = "{KEY}", "query.api_secret" = "{SECRET}" }}
[[operations]]
include-operation-id = "createAPISecret"
parameters = {{ "body.secret" = {{ dictionary = "secrets", probability = 0.5 }} }}
[[operations]]
include-operation-id = "changeAccountSettings"
[operations.parameters]
"query.api_key" = "{KEY}"
"query.api_secret" = "{SECRET}"
"body.moCallBackUrl" = {{ dictionary = "urls", probability = 0.5 }}
"body.drCallBackUrl" = {{ dictionary = "urls", probability = 0.5 }}
"""


def main(path: str) -> int:
    """Run it, tell how it went; returns the exit code."""
    logs.configure("error", "console")  # the emulator's
    hooks = Path(__file__).with_name("schemathesis_hooks.py")
    with tempfile.TemporaryDirectory() as folder:
        outcome = examine(
            Path(path),
            Path(folder),
            examples=EXAMPLES,
            config=CONFIG,
            hooks=hooks,
            max_secrets=1_000_000,  # or most creates would be refused
        )
    print(outcome.text)
    for (operation, status), times in sorted(outcome.answers.items(), key=str):
        print(f"{operation:10} {status}  {times:6}")
    print(f"{outcome.cases} cases; {outcome.accepted} failures accepted, see {hooks.name}")
    return 0 if outcome.passed and outcome.cases >= CASES else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
