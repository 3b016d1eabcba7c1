"""Record the demo as a still terminal picture: docs/demo.svg.

The demo runs on a terminal of 80 columns. Its ports and the number of the consumer's requests differ from run to run.
The picture shows fixed ones, so two recordings of the same demo are the same file.

    python -m tools.capture
"""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from defusedxml import ElementTree
from rich.console import Console
from rich.text import Text

from testkit.terminal import of_terminal, run_on_terminal

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "demo.svg"
COLUMNS = 80
_PORTS = {"OpenBao": "8200", "Account API": "8081"}
_CHECKS = "800"
_TITLE = "make demo"
_SVG = "{http://www.w3.org/2000/svg}"
# rich's own format, without the web fonts that it links to: a picture must not fetch anything.
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def record(*command: str, **environment: str) -> str:
    """Run a command on a terminal of its own and return what it shows, colors included.

    Raises:
        subprocess.CalledProcessError: If the command fails.
    """
    variables = of_terminal(os.environ) | environment
    code, text = run_on_terminal(command, folder=ROOT, environment=variables, columns=COLUMNS)
    if code:
        raise subprocess.CalledProcessError(code, command, text)
    return text


def settled(text: str) -> str:
    """Replace the parts of a recording that differ from run to run: ports and the number of requests."""
    for server, port in _PORTS.items():
        text = re.sub(rf"({server}\b.*127\.0\.0\.1:)\d+", rf"\g<1>{port}", text)
    return re.sub(r"(used it (?:\x1b\[\d+m)*)\d+", rf"\g<1>{_CHECKS}", text)


def picture(text: str) -> str:
    """Return a recording as SVG."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in text.splitlines():
            console.print(Text.from_ansi(line), soft_wrap=True)
        return console.export_svg(title=_TITLE, code_format=_FORMAT, unique_id="demo")


def lines_of(svg: str) -> list[str]:
    """Return the lines of text that a picture shows, without empty lines."""
    rows: dict[float, str] = defaultdict(str)
    for element in ElementTree.fromstring(svg).iter(f"{_SVG}text"):
        text = element.text or ""
        if "clip-path" in element.attrib:
            row, width = float(element.attrib["y"]), float(element.attrib["textLength"]) / len(text)
            rows[row] = rows[row].ljust(round(float(element.attrib["x"]) / width)) + text
    lines = [line.replace("\xa0", " ").rstrip() for _, line in sorted(rows.items())]
    return [line for line in lines if line]


def plain(text: str) -> list[str]:
    """Return the lines of a recording without colors and empty lines."""
    lines = (Text.from_ansi(line).plain.rstrip() for line in text.splitlines())
    return [line for line in lines if line]


def main() -> int:
    """Record the demo and write its picture."""
    PICTURE.write_text(picture(settled(record(sys.executable, "-m", "rotator", "demo"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
