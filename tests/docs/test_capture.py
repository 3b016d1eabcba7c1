"""docs/demo.svg, the picture in the README, shows what `make demo` prints."""

import sys
from pathlib import Path

from tools import capture


def test_picture_shows_what_the_demo_prints() -> None:
    bin_folder = Path(sys.executable).parent
    shown = capture.record("make", "--silent", "--old-file=.venv/.ready", f"BIN={bin_folder}", "demo")
    lines = capture.plain(capture.settled(shown))
    assert capture.lines_of(capture.PICTURE.read_text()) == lines
    assert max(map(len, lines)) <= capture.COLUMNS


def test_picture_of_one_recording_is_one_file() -> None:
    recording = "\x1b[1m1 servers\x1b[0m  OpenBao 2.7.2 at http://127.0.0.1:{}\nused it \x1b[1m{}\x1b[0m times\n"
    first, second = (
        capture.picture(capture.settled(recording.format(port, count))) for port, count in ((40043, 798), (35001, 90))
    )
    assert first == second
    assert capture.lines_of(first) == ["1 servers  OpenBao 2.7.2 at http://127.0.0.1:8200", "used it 800 times"]
