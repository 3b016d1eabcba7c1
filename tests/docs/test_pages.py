"""Links and paths in the documentation lead to files that exist."""

import re
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, pages

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
FILES = {path.name for folder in ("rotator", "tests", "tools", "deploy") for path in (ROOT / folder).rglob("*.*")}
TESTS = {
    test for path in (ROOT / "tests").rglob("test_*.py") for test in re.findall(r"def (test_\w+)\(", path.read_text())
}
TASKS = (
    "the wait before a retry",
    "a login method of Vault",
    "a field of the journal",
    "a label of the per-account gauges",
    "when an adopted account's older secret is revoked",
    "read a balance right after a top-up",
    "a column of `rotator status`",
    "the text of a provider's 403",
    "how two daemons avoid one account",
    "mask another kind of value",
    "an exit code",
    "how many accounts a command rotates at the same time",
    "how many accounts the daemon rotates at the same time",
    "a published document that was deleted",
    "the length of a lease",
    "the default of a setting",
)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES)
def test_bare_names_are_files_and_tests(page: Path) -> None:
    """A name without its folder, which no link and no path would show to be wrong."""
    text = page.read_text()
    named = re.findall(r"\b(test_\w+\.py)\b|`(\w+\.(?:py|sh|hcl))`", text)
    assert [name for name in {file or other for file, other in named} if name not in FILES] == []
    assert [name for name in set(re.findall(r"`(test_\w+)`", text)) if name not in TESTS] == []


@pytest.mark.parametrize("page", PAGES)
def test_paths_of_the_repository_exist(page: Path) -> None:
    paths = re.findall(r"`((?:tests|testkit|tools|benchmarks|deploy|docs)/[\w./-]*)[`:]", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_readme_links_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", readme)}
    documentation = [page for page in pages() if ROOT / "deploy" not in page.parents and page != ROOT / "README.md"]
    missing = [page for page in documentation if page not in linked and page.parent not in linked]
    assert missing == []


def test_readme_blocks_fit_a_terminal() -> None:
    blocks = re.findall(r"^```(?:text|console)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    assert [line for block in blocks for line in block.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("task", TASKS)
def test_contributing_names_code_and_test_of_a_task(task: str) -> None:
    (row,) = re.findall(rf"^\| {re.escape(task)} \|(.*)\|(.*)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    code, test = (re.findall(r"`([^`]+)`", cell) for cell in row)
    assert all(path.startswith("rotator/") for path in code)
    assert all(path.startswith("tests/") for path in test)
    assert code
    assert test


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:rotator|tests|testkit|tools|deploy|docs)/[^`\s]*)`", text)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_contributing_describes_each_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## Architecture")[1].split("\n## ")[0]
    packages = {path.parent.name for path in (ROOT / "rotator").glob("*/__init__.py")}
    assert [package for package in sorted(packages) if f"`{package}`" not in text] == []
