"""Files and classes that are too long."""

from pathlib import Path

import pytest

from tools.sizes import LONGEST_CLASS, LONGEST_FILE, MOST_MODULES, main


@pytest.mark.parametrize(
    ("lines", "found"), [(LONGEST_FILE, ""), (LONGEST_FILE + 1, "rotator/one.py: 401 lines, at most 400\n")]
)
def test_long_file_is_shown(lines: int, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rotator").mkdir()
    (tmp_path / "rotator" / "one.py").write_text("x = 1\n" * lines)
    assert main(tmp_path) == bool(found)
    assert capsys.readouterr().out == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [(LONGEST_CLASS, ""), (LONGEST_CLASS + 1, "rotator/a/one.py:2: class One has 251 lines, at most 250\n")],
)
def test_long_class_is_shown(lines: int, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rotator" / "a").mkdir(parents=True)
    (tmp_path / "rotator" / "a" / "one.py").write_text("\nclass One:\n" + "    x = 1\n" * (lines - 1))
    assert main(tmp_path) == bool(found)
    assert capsys.readouterr().out == found


def test_too_many_flat_modules_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rotator").mkdir()
    for number in range(MOST_MODULES + 1):
        (tmp_path / "rotator" / f"m{number}.py").write_text("")
    assert main(tmp_path) == 1
    assert capsys.readouterr().out == "rotator/: 9 modules, at most 8\n"
