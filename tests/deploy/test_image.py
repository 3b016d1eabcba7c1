"""What can be said of the image without building it; `make image` builds and runs it."""

import re
import subprocess
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    found = subprocess.run(
        [hadolint, "--no-color", "Dockerfile"], cwd=PROJECT, text=True, capture_output=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_build_installs_by_hash_only() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    installs = re.findall(r"pip(?: --python \S+)? (?:install|wheel) .*", text)
    assert len(installs) == 4
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert all("--no-deps" in line for line in installs)


def test_pages_install_without_a_resolver() -> None:
    told = [
        line
        for page in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
        for line in re.findall(r"^ .*pip install .*", page.read_text(), re.MULTILINE)
    ]
    assert len(told) == 4
    assert all("--no-deps" in line for line in told)
    assert sum("--require-hashes -r requirements/runtime.txt" in line for line in told) == 2


def test_own_package_index_reaches_every_step() -> None:
    steps = re.findall(r"^RUN (.*?[^\\])$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)
    asking = [step for step in steps if "--require-hashes" in step]
    assert asking
    assert all(step.startswith("--mount=type=secret,id=pip.conf,target=/etc/pip.conf ") for step in asking)


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the last stage, in one line each."""
    text = re.sub(r"(?m)^#.*\n", "", (PROJECT / "Dockerfile").read_text()).replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line]
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return [(kind, rest) for kind, _, rest in (line.partition(" ") for line in lines[last:])]


def test_image_has_user_labels_and_health_check() -> None:
    healthz = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"
    labels = {
        "title": "rotator",
        "description": "Rotates the API secrets of Nexmo/Vonage accounts and publishes them in Vault",
        "licenses": "MIT",
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "base.name": "${BASE}",
    }
    assert instructions() == [
        ("FROM", "${BASE}"),
        ("ARG", "BASE"),
        ("ARG", "VERSION=unknown"),
        ("ARG", "REVISION=unknown"),
        ("LABEL", " ".join(f'org.opencontainers.image.{key}="{text}"' for key, text in labels.items())),
        ("COPY", "--from=build /opt/rotator /opt/rotator"),
        ("ENV", "PATH=/opt/rotator/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1"),
        ("WORKDIR", "/"),
        ("USER", "65532:65532"),
        ("EXPOSE", "9464"),
        ("STOPSIGNAL", "SIGTERM"),
        (
            "HEALTHCHECK",
            f'--interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "{healthz}"]',
        ),
        ("ENTRYPOINT", '["rotator"]'),
        ("CMD", '["run"]'),
    ]


def test_both_stages_have_the_same_base() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    copied = re.findall(r"(?m)^COPY ([a-z]+/) (.*)$", text)
    assert [source for source, _ in copied] == [target for _, target in copied] == ["requirements/", "rotator/"]
    assert re.findall(r"(?m)^ARG BASE.*$", text) == ["ARG BASE=python:3.11-slim-bookworm", "ARG BASE"]
    assert re.findall(r"(?m)^FROM .*$", text) == ["FROM ${BASE} AS build", "FROM ${BASE}"]


def test_page_builds_on_a_base_by_digest() -> None:
    """A tag can move between two builds of one release; no digest in the file would stay up to date."""
    page = (PROJECT / "docs/kubernetes.md").read_text()
    tag = re.findall(r"(?m)^ARG BASE=(.*)$", (PROJECT / "Dockerfile").read_text())[0]
    commands = re.findall(r"(?m)^ +(docker .*)$", page)
    assert commands[:2] == [f"docker pull {tag}", f"docker inspect --format '{{{{index .RepoDigests 0}}}}' {tag}"]
    assert commands[2].startswith("docker build --build-arg BASE=python@sha256:… ")


def test_build_context_has_used_files_only() -> None:
    rules = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[-2:] == ["**/__pycache__", "**/*.pyc"]
    assert "!requirements/*.txt" in rules
    copied = {
        part
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", (PROJECT / "Dockerfile").read_text(), re.M)
        for part in line.split()
    }
    assert {rule.removeprefix("!").split("/")[0] for rule in rules if rule.startswith("!")} == {
        part.strip("/") for part in copied
    }
