"""Tables and plots of what was measured: `python -m benchmarks.report [--quick]`.

docs/performance.md is written anew between its markers, section by section as far as there are figures in build/bench,
and its plots with it. With --quick the page and the plots go to build/bench/quick: what was only tried proves nothing.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import (
    calls,
    cold_start,
    leaked_secrets,
    lean_cost,
    results,
    rotation_cost,
    scale,
    sharding,
    throughput,
    troubled_keys,
)
from benchmarks.results import Bar, Spread, Taken, spread

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
INK = ("#1f6feb", "#8250df", "#bf8700", "#57606a", "#1a7f37")
WHISKERS = "median, whiskers from the lowest to the highest round"
VERDICTS = {True: "yes", False: "**no**", None: "this machine cannot tell"}

Row = Sequence[object]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: Of the module that measures it, of its markers and of its plot.
        kind: What that module's figures are.
        plot: Draws the figures; None: the tables are enough.
    """

    name: str
    kind: type[Any]
    tables: Callable[[Any], str]
    plot: Callable[[Any, Figure], None] | None
    bars: Callable[[Any], list[Bar]]


def table(head: Row, rows: Sequence[Row]) -> str:
    """A table; what is not in the first column stands on the right."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def errors(spreads: Sequence[Spread]) -> list[list[float]]:
    """How far the whiskers go down and up."""
    return [[one.median - one.low for one in spreads], [one.high - one.median for one in spreads]]


def plain(axes: Axes, x: str, y: str, title: str = "") -> None:
    """A plot's words, and as few lines as it takes."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, alpha=0.25)
    axes.set_axisbelow(True)


# --- the sections ------------------------------------------------------------------------------------------------


def cost_tables(figures: rotation_cost.Figures) -> str:
    """Per rotation, by contender and transport."""
    rows: list[Row] = []
    for transport, contenders in figures.taken.items():
        for name, turns in contenders.items():
            servers = spread([turn.servers / figures.accounts for turn in turns])
            wall = spread([turn.wall / figures.accounts for turn in turns])
            by = figures.ratio(transport, name, rotation_cost.BARE)
            rows.append(
                (
                    f"{name}, {transport}",
                    spread(figures.marginal(transport, name)).text(1000, 2),
                    by.text(digits=2),
                    spread(figures.whole(transport, name)).text(1000, 2),
                    wall.text(1000, 1),
                    servers.text(1000, 1),
                )
            )
    head = ("a rotation", "CPU, ms", "by bare calls", "CPU with start and login, ms", "wall, ms", "servers' CPU, ms")
    return table(head, rows)


def lean_tables(figures: lean_cost.Figures) -> str:
    """CPU of whole processes, by placement and contender."""
    rows: list[Row] = [
        (
            f"{name}, {placement}",
            spread(figures.one[placement][name]).text(1000, 0),
            spread(spent).text(1000, 0),
            spread(figures.marginal(placement, name)).text(1000, 2),
        )
        for placement, contenders in figures.all.items()
        for name, spent in contenders.items()
    ]
    head = ("a process", "CPU, 1 account, ms", f"CPU, {figures.accounts:,} accounts, ms", "CPU, one account more, ms")
    return table(head, rows)


def plot_cost(figures: rotation_cost.Figures, figure: Figure) -> None:
    """Bars side by side, one group a transport."""
    axes = figure.subplots()
    labels, spreads, colours = [], [], []
    for colour, (transport, contenders) in zip(INK, figures.taken.items(), strict=False):
        for name in contenders:
            labels.append(f"{name}\n{transport}")
            spreads.append(spread([1000 * seconds for seconds in figures.marginal(transport, name)]))
            colours.append(colour)
    heights = [one.median for one in spreads]
    axes.bar(labels, heights, yerr=errors(spreads), color=colours, capsize=4, width=0.6)
    axes.tick_params(axis="x", labelsize=8)
    plain(axes, "", "CPU of a rotation, ms", f"CPU of a rotation more; {WHISKERS}")


def throughput_tables(figures: throughput.Figures) -> str:
    """By concurrency and latency, with the number of accounts that were rotated."""
    latencies = sorted({series.point.latency for series in figures.series})
    places = {(series.point.contender, series.point.concurrency): None for series in figures.series}

    def cell(contender: str, concurrency: int, latency: int) -> str:
        series = figures.of(contender, latency, concurrency)
        return f"{series.rate.text()} over {series.rounds[0].accounts:,}"

    rows: list[Row] = [
        (f"{contender}, {concurrency} at once", *(cell(contender, concurrency, latency) for latency in latencies))
        for contender, concurrency in places
    ]
    head = ("rotations a second", *(f"answers after {latency} ms" for latency in latencies))
    busy: list[Row] = [
        (
            f"{series.point.latency} ms, {series.point.concurrency} at once",
            spread([100 * turn.cpu / turn.wall for turn in series.rounds]).text(digits=0),
            spread([100 * turn.servers / turn.wall for turn in series.rounds]).text(digits=0),
        )
        for series in figures.series
        if series.point.contender == throughput.ROTATOR and series.point.concurrency in (8, throughput.MOST)
    ]
    return table(head, rows) + "\n" + table(("how busy", "rotator, % of a core", "servers, % of a core"), busy)


def plot_throughput(figures: throughput.Figures, figure: Figure) -> None:
    """A line a latency; the script beside it, one after the other and with threads."""
    axes = figure.subplots()
    for colour, latency in zip(INK, sorted({series.point.latency for series in figures.series}), strict=False):
        mine = [series for series in figures.series if series.point.latency == latency]
        for contender, style in ((throughput.ROTATOR, "-o"), (throughput.POOL, ":^")):
            line = [series for series in mine if series.point.contender == contender]
            at = [series.point.concurrency for series in line]
            rates = [series.rate for series in line]
            label = f"{contender}, {latency} ms"
            medians = [rate.median for rate in rates]
            axes.errorbar(at, medians, yerr=errors(rates), fmt=style, color=colour, capsize=3, label=label)
        alone = figures.of(throughput.SERIAL, latency, 1).rate
        axes.axhline(alone.median, color=colour, linestyle="--", linewidth=1, label=f"reference, {latency} ms")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    plain(axes, "accounts at once", "rotations a second", f"throughput by the provider's latency; {WHISKERS}")
    axes.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)


def scale_tables(figures: scale.Figures) -> str:
    """The whole daemon, then what an account adds to it."""
    rows: list[Row] = [
        (
            f"{rest.accounts:,}",
            f"{rest.rss / 1024:,.1f}",
            f"{rest.ready:,.1f}",
            f"{rest.started:,.1f}",
            f"{100 * rest.idle:.2f}",
            *(rest.page(path).text(1000, 0) for path in scale.PAGES),
            *(f"{rest.sizes[path] / 1024:,.0f}" for path in scale.PAGES),
        )
        for rest in figures.rests
    ]
    head = ["accounts", "RSS, MiB", "ready after, s", "CPU until then, s", "CPU at rest, %"]
    head += [f"`{path}`, {unit}" for unit in ("ms", "KiB") for path in scale.PAGES]
    each: list[Row] = [
        (
            f"one of {rest.accounts:,}",
            f"{figures.each(rest, 'rss'):.2f}",
            f"{1000 * figures.each(rest, 'ready'):.2f}",
            f"{1000 * figures.each(rest, 'started'):.2f}",
            f"{1e6 * figures.each(rest, 'idle'):.1f}",
        )
        for rest in figures.rests[1:]
    ]
    head_each = ("an account more", "RSS, KiB", "until ready, ms", "CPU until ready, ms", "CPU at rest, µs a second")
    return table(head, rows) + "\n" + table(head_each, each)


def plot_scale(figures: scale.Figures, figure: Figure) -> None:
    """What must not grow: the cost of an account; and what does."""
    rests = figures.rests[1:]
    counts = [rest.accounts for rest in rests]
    memory, start, rest_cpu, pages = figure.subplots(2, 2).flat
    memory.plot(counts, [figures.each(rest, "rss") for rest in rests], "-o", color=INK[0])
    plain(memory, "accounts", "KiB an account", "memory beyond the daemon of one account")
    start.plot(counts, [1000 * figures.each(rest, "started") for rest in rests], "-o", color=INK[0], label="CPU")
    start.plot(counts, [1000 * figures.each(rest, "ready") for rest in rests], "--s", color=INK[2], label="time")
    plain(start, "accounts", "ms an account", "from the start until ready")
    start.legend(fontsize=8, frameon=False)
    rest_cpu.plot(counts, [100 * rest.idle for rest in rests], "-o", color=INK[0])
    plain(rest_cpu, "accounts", "% of a core", f"CPU at rest, over {figures.idle_seconds:.0f} s")
    for colour, path in zip(INK, scale.PAGES, strict=False):
        took = [rest.page(path) for rest in rests]
        medians = [1000 * one.median for one in took]
        whiskers = [[1000 * length for length in side] for side in errors(took)]
        pages.errorbar(counts, medians, yerr=whiskers, fmt="-o", color=colour, capsize=3, label=path)
    pages.set_yscale("log")
    plain(pages, "accounts", "ms", "one page; whiskers from quickest to slowest")
    pages.legend(fontsize=8, frameon=False)
    for axes in (memory, start, rest_cpu, pages):
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        if axes is not pages:
            axes.set_ylim(bottom=0)


def start_tables(figures: cold_start.Figures) -> str:
    """Wall time and CPU, from the start of the process to its end."""
    rows: list[Row] = [
        (name, spread(walls).text(1000, 0), spread(figures.cpu[name]).text(1000, 0))
        for name, walls in figures.wall.items()
    ]
    return table(("one process", "wall, ms", "CPU, ms"), rows)


def plot_start(figures: cold_start.Figures, figure: Figure) -> None:
    """Every run a point, and the median."""
    axes = figure.subplots()
    names = list(figures.wall)[::-1]
    for place, name in enumerate(names):
        took = [1000 * seconds for seconds in figures.wall[name]]
        axes.plot(took, [place] * len(took), "o", color=INK[0], alpha=0.35, markeredgewidth=0)
        axes.plot([spread(took).median], [place], "|", color=INK[2], markersize=22, markeredgewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(left=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    plain(axes, "wall time, ms", "", "one process from start to exit; every run, and the median")


def sharding_tables(figures: sharding.Figures) -> str:
    """Seconds and speed-up."""
    rows: list[Row] = [
        (f"{latency} ms, {count}", f"{figures.accounts[latency]:,}", spread(took).text(), speed_up.text(digits=2))
        for latency, walls in figures.walls.items()
        for count, took in walls.items()
        for speed_up in [figures.speed_up(latency, count)]
    ]
    return table(("answers after, processes", "accounts", "seconds", "speed-up"), rows)


def plot_sharding(figures: sharding.Figures, figure: Figure) -> None:
    """Against as many times as there are processes."""
    axes = figure.subplots()
    axes.plot(sharding.COUNTS, sharding.COUNTS, "--", color=INK[3], linewidth=1, label="as many times as processes")
    for colour, latency in zip(INK, figures.walls, strict=False):
        ups = [figures.speed_up(latency, count) for count in sharding.COUNTS]
        medians = [up.median for up in ups]
        label = f"answers after {latency} ms"
        axes.errorbar(sharding.COUNTS, medians, yerr=errors(ups), fmt="-o", color=colour, capsize=3, label=label)
    axes.set_xticks(sharding.COUNTS)
    axes.set_ylim(bottom=0)
    title = f"processes on {figures.cores} core(s) beside the servers'; {WHISKERS}"
    plain(axes, "processes", "speed-up", title)
    axes.legend(fontsize=8, frameon=False)


def troubled_tables(figures: troubled_keys.Figures) -> str:
    """Seconds of each scene, without and with the keys in trouble."""
    rows: list[Row] = [
        (str(pairs.scene), spread(pairs.alone).text(digits=2), spread(pairs.beside).text(digits=2))
        for pairs in figures.pairs
    ]
    return table(("keys in trouble; healthy accounts", "seconds alone", "seconds beside them"), rows)


def leaked_tables(figures: leaked_secrets.Figures) -> str:
    """Seconds of each scene."""
    rows: list[Row] = [(str(scene), spread(took).text()) for scene, took in figures.took]
    return table(("outage", "seconds from the provider's return until a leaked secret is revoked"), rows)


SECTIONS = (
    Section("rotation_cost", rotation_cost.Figures, cost_tables, plot_cost, rotation_cost.bars),
    Section("lean_cost", lean_cost.Figures, lean_tables, None, lean_cost.bars),
    Section("throughput", throughput.Figures, throughput_tables, plot_throughput, throughput.bars),
    Section("scale", scale.Figures, scale_tables, plot_scale, scale.bars),
    Section("cold_start", cold_start.Figures, start_tables, plot_start, cold_start.bars),
    Section("sharding", sharding.Figures, sharding_tables, plot_sharding, sharding.bars),
    Section("troubled_keys", troubled_keys.Figures, troubled_tables, None, troubled_keys.bars),
    Section("leaked_secrets", leaked_secrets.Figures, leaked_tables, None, leaked_secrets.bars),
)


# --- the page ----------------------------------------------------------------------------------------------------


def calls_table() -> str:
    """How many requests each way to run takes, from the lists that tests/benchmarks/test_calls.py holds it to."""

    def row(what: str, block: str) -> Row:
        provider, vault = (sum(line.startswith(server) for line in block.split("\n")) for server in ("prov", "vault"))
        return what, provider, vault

    return table(("requests", "provider", "Vault"), [row(what, block) for what, block in calls.WAYS.items()])


def section_text(section: Section, taken: Taken[Any]) -> str:
    """A section: how it was measured, its tables, its bars, its plot."""
    lines = [f"`{taken.command}`, {taken.day}, on {taken.machine}.", ""]
    if taken.quick:
        lines += ["**Only tried: these figures prove nothing.**", ""]
    lines.append(section.tables(taken.figures))
    bars = section.bars(taken.figures)
    if bars:
        rows: list[Row] = [(bar.what, bar.bound, bar.found, VERDICTS[bar.met]) for bar in bars]
        lines += [table(("bar", "wanted", "measured", "met"), rows)]
    if section.plot is None:
        return "\n".join(lines)
    picture = f"performance/{section.name}"
    return "\n".join([*lines, f"![{section.name.replace('_', ' ')}]({picture}.svg)", "", f"([PNG]({picture}.png))"])


def draw(section: Section, figures: Any, folder: Path) -> None:
    """Write the plot, if the section has one, as SVG and as PNG."""
    if section.plot is None:
        return
    figure = Figure(figsize=(9, 6.5 if section.name == "scale" else 4.8), layout="constrained")
    section.plot(figures, figure)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{section.name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{section.name}.png", dpi=130)


def fill(page: str, name: str, text: str) -> str:
    """Replace what stands between a section's markers.

    Raises:
        ValueError: If the page has no such markers.
    """
    found = re.search(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", page, re.DOTALL)
    if found is None:
        raise ValueError(f"{PAGE.name} has no markers for {name}")
    return f"{page[: found.end(1)]}\n{text.strip()}\n\n{page[found.start(2) :]}"


def main(*, quick: bool) -> None:
    """Write the page and its plots."""
    mpl.rcParams |= {
        "svg.hashsalt": "rotator",
        "svg.fonttype": "none",
        "font.size": 9,
    }  # the same from the same figures
    target = results.folder(quick=quick) / PAGE.name if quick else PAGE
    page = fill(PAGE.read_text(), "calls", calls_table())
    for section in SECTIONS:
        taken = results.load(section.name, section.kind, quick=quick)
        if taken is None:
            print(f"{section.name}: not measured, left as it is")
            continue
        draw(section, taken.figures, target.with_suffix(""))
        page = fill(page, section.name, section_text(section, taken))
    target.write_text(page)
    print(f"written: {target}")


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
