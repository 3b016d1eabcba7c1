"""Stands for `helm upgrade` where there is no cluster: Helm renders the chart with the same arguments."""

import argparse
import sys
from pathlib import Path

import helm_python
import yaml


def main(arguments: list[str]) -> int:
    """Render the release of a `helm upgrade`. An unknown option or value ends with an error."""
    parser = argparse.ArgumentParser(prog="helm upgrade")
    parser.add_argument("release")
    parser.add_argument("chart")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--create-namespace", action="store_true")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--values", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parsed = parser.parse_args(arguments)
    values = yaml.safe_load(parsed.values.read_text(encoding="utf-8")) if parsed.values else {}
    for assignment in parsed.set:
        path, value = assignment.split("=", 1)
        *parents, key = path.split(".")
        target = values
        for parent in parents:
            target = target.setdefault(parent, {})
        target[key] = value
    chart = helm_python.Chart.load(Path(parsed.chart))
    sys.stdout.write("\n---\n".join(chart.render(values, name=parsed.release, namespace=parsed.namespace).values()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
