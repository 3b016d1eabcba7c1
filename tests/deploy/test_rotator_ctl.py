"""deploy/systemd/rotator-ctl with a played systemd: what it asks of systemd-run. `make systemd` has a real one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "deploy" / "systemd"
DROP_IN = """
# /etc/systemd/system/rotator.service.d/here.conf
[Service]
LogsDirectory=rotator
SupplementaryGroups=vault certificates
"""
# Loads the credentials as systemd does, expands the command's variables, and runs it.
SYSTEMD_RUN = f"""#!{sys.executable}
import json, os, pathlib, re, shlex, shutil, subprocess, sys
split = sys.argv.index("--")
options, command = sys.argv[1:split], sys.argv[split + 1:]
folder = pathlib.Path(os.environ["FAKE"], "credentials")
folder.mkdir()
environment = {{"CREDENTIALS_DIRECTORY": str(folder)}}
for option in options:
    name, _, value = option.removeprefix("--property=").partition("=")
    if option.startswith("--property=LoadCredential="):
        key, _, source = value.partition(":")
        shutil.copy(os.environ["FAKE"] + source, folder / key)
    elif option.startswith("--property=Environment="):
        environment.update(word.split("=", 1) for word in shlex.split(value))
        if not value:
            environment = {{"CREDENTIALS_DIRECTORY": str(folder)}}
pathlib.Path(os.environ["FAKE"], "options.json").write_text(json.dumps(options))
# $$ is a $. A whole word $NAME becomes several, which no part of these commands is.
known = lambda found: "$" if found[0] == "$$" else environment.get(found[1] or found[2], "")
command = [re.sub(r"\\$\\$|\\$\\{{(\\w+)\\}}|\\$(\\w+)", known, part) for part in command]
sys.exit(subprocess.run(command, env=environment).returncode)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc/rotator").mkdir(parents=True)
    (tmp_path / "etc/rotator/vault-secret-id").write_text("the secret id")
    program = tmp_path / "rotator"
    program.write_text(
        "#!/bin/sh\n"
        'echo "$ROTATOR_CONFIG"; cat "$ROTATOR_VAULT__AUTH__SECRET_ID_FILE"; echo; printf "%s\\n" "$@"; exit 3\n'
    )
    unit = "# /etc/systemd/system/rotator.service\n" + (FILES / "rotator.service").read_text() + DROP_IN
    (tmp_path / "unit").write_text(unit.replace("/opt/rotator/bin/rotator", str(program)))
    tools = {
        "systemctl": f'#!/bin/sh\n[ "$*" = "cat -- rotator.service" ] && exec cat {tmp_path}/unit\nexit 1\n',
        "systemd-run": SYSTEMD_RUN,
    }
    for name, text in tools.items():
        (tmp_path / "bin" / name).write_text(text)
    for file in (program, *(tmp_path / "bin").iterdir()):
        file.chmod(0o755)
    return tmp_path


def ctl(fake: Path, *args: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": f"{fake / 'bin'}:{os.environ['PATH']}", "FAKE": str(fake)} | variables
    return subprocess.run([FILES / "rotator-ctl", *args], env=environment, capture_output=True, text=True, check=False)


def test_rotator_ctl_passes_credential_arguments_and_code(fake: Path) -> None:
    done = ctl(fake, "adopt", "two words", "*")
    assert done.stdout.splitlines() == ["/etc/rotator/config.toml", "the secret id", "adopt", "two words", "*"]
    assert (done.returncode, done.stderr) == (3, "")


def test_rotator_ctl_takes_the_sandbox_of_the_unit(fake: Path) -> None:
    ctl(fake, "check")
    options = json.loads((fake / "options.json").read_text())
    unit = (FILES / "rotator.service").read_text().partition("[Service]")[2].partition("[Install]")[0] + DROP_IN
    own = ("Type=", "Exec", "Restart", "Timeout", "Watchdog")
    expected = [
        f"--property={line}"
        for line in unit.splitlines()
        if line[:1].isupper() and not line.startswith(own) and "%d" not in line
    ]
    assert len(expected) > 30
    assert [one for one in options if one.startswith("--property=")] == ["--property=User=rotator", *expected]
    assert {"--wait", "--pty", "--pipe", "--collect"} <= set(options)


def test_rotator_ctl_joins_continued_lines(fake: Path) -> None:
    unit = fake / "unit"
    unit.write_text(unit.read_text() + "[Service]\nSystemCallFilter=@system-service \\\n  ~@mount\n")
    ctl(fake, "adopt", "two words")
    options = json.loads((fake / "options.json").read_text())
    assert options[-1] == "--property=SystemCallFilter=@system-service    ~@mount"
    assert "--description=rotator adopt two words" in options


def test_rotator_ctl_passes_dollars_as_they_are(fake: Path) -> None:
    done = ctl(fake, "adopt", "$HOME", "a${HOME}b", "50$", "$$")
    assert done.stdout.splitlines()[-4:] == ["$HOME", "a${HOME}b", "50$", "$$"]


def test_rotator_ctl_removes_variables_reset_by_drop_in(fake: Path) -> None:
    unit = fake / "unit"
    reset = (
        'Environment=\nEnvironment=ROTATOR_CONFIG=/x "ROTATOR_VAULT__AUTH__SECRET_ID_FILE=%d/vault-secret-id" A=%%$\n'
    )
    unit.write_text(f"{unit.read_text()}[Service]\nEnvironment=OLD=%d/old\n{reset}")
    done = ctl(fake, "check")
    assert done.stdout.splitlines() == ["/x", "the secret id", "check"]
    program = fake / "rotator"
    program.write_text('#!/bin/sh\necho "$OLD,$A"\n')
    (fake / "credentials" / "vault-secret-id").unlink()
    (fake / "credentials").rmdir()
    assert ctl(fake, "check").stdout == ",%$\n"


@pytest.mark.parametrize("line", ["LogsDirectory=%N", "Environment=A=%h/x"])
def test_rotator_ctl_refuses_specifiers_that_systemd_run_keeps(fake: Path, line: str) -> None:
    unit = fake / "unit"
    unit.write_text(f"{unit.read_text()}[Service]\n{line}\n")
    done = ctl(fake, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"rotator-ctl: only %d in Environment= is expanded. Write the value in place of the specifier: {line}\n"
    )
    assert not (fake / "options.json").exists()


def test_rotator_ctl_names_a_missing_unit(fake: Path) -> None:
    done = ctl(fake, "check", ROTATOR_UNIT="other.service")
    assert done.returncode == 2
    assert "there is no unit other.service. Install it, or set ROTATOR_UNIT." in done.stderr
    assert not (fake / "options.json").exists()


def test_rotator_ctl_passes_shellcheck() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, FILES / "rotator-ctl"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_page_installs_the_files_of_the_folder() -> None:
    page = (FILES.parents[1] / "docs" / "systemd.md").read_text()
    for file in FILES.iterdir():
        assert f"install -m {'755' if os.access(file, os.X_OK) else '644'} deploy/systemd/{file.name} " in page
