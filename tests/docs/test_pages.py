"""What readers of the pages rely on: short pages, lines that fit a screen, links that lead somewhere."""

import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bundles/*/docs/*.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_lines_fit_a_screen(path: Path) -> None:
    """Rows of tables cannot be broken; everything else can."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_repository(path: Path) -> None:
    """The site's own check covers the pages as they are published; this one covers readers of the repository."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!http|mailto|#)([^)#\s]+)", text) + re.findall(r"^\[[^\]]+\]: (?!http)(\S+)", text, re.M)
    made_at_build_time = {"reference/commands.md", "reference/python/index.md"}
    lost = [link for link in links if not (path.parent / link).exists()]
    assert [link for link in lost if not link.endswith(tuple(made_at_build_time))] == []


def test_the_readme_links_to_other_files() -> None:
    assert "](docs/" in (ROOT / "README.md").read_text()


def words(pattern: str) -> list[tuple[str, str]]:
    """What the pattern finds in the pages, each with its page."""
    return sorted(
        {
            (path.relative_to(ROOT).as_posix(), name)
            for path in PAGES
            if path.name != "CHANGELOG.md"
            for name in re.findall(pattern, path.read_text())
        }
    )


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)[1:]
    plain = [re.sub(r"[^a-z0-9 ]", "", term.lower()) for term in terms]
    assert plain == sorted(set(plain))


def test_folders_and_files_that_pages_name_are_there() -> None:
    names = words(r"`((?:monai_spine|data_prep|tests|benchmarks|docs)/[\w/.-]+)`")
    files = [(page, name) for page, name in names if not re.search(r"/\d+$", name)]  # schemas end in their number
    assert [(page, name) for page, name in files if not (ROOT / name).exists()] == []


def test_modules_that_a_page_names_by_their_file_alone_are_in_a_folder_that_it_names_beside() -> None:
    """Beside is in the same paragraph, item or row of a table; where none is named there, any folder will do."""
    every = [path for package in ("monai_spine", "data_prep", "tests") for path in (ROOT / package).rglob("*.py")]
    elsewhere = {"ci/verify_bundle.py"}  # of MONAI's model zoo
    lost = []
    for page in PAGES:
        if page.name in ("CHANGELOG.md", "own-parts.md"):  # earlier names, and files of the reader's own
            continue
        for block in re.split(r"\n\n|\n(?=\s*(?:[-*|]|\d+\.) )", page.read_text()):
            folders = [ROOT / name for name in re.findall(r"`((?:monai_spine|data_prep)(?:/\w+)*)[/`]", block)]
            near = [path for path in every if any(folder in path.parents for folder in folders)] or every
            for name in re.findall(r"`(\w[\w/]*\.py)`", block):
                if name in elsewhere:
                    continue
                if not (ROOT / name).exists() and not any(path.as_posix().endswith(f"/{name}") for path in near):
                    lost.append((page.relative_to(ROOT).as_posix(), name))
    assert lost == []


def test_names_of_python_that_pages_give_are_importable() -> None:
    lost = []
    for page, name in words(r"[`\"]((?:monai_spine|data_prep)(?:\.\w+)+)"):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            lost.append((page, name))
    assert lost == []
