"""Hooks of mkdocs: pages made at build time, and links for both the repository and the site.

In the sources, a link leads to a file of the repository, so that it works for those who read the repository. The hooks
turn it into a link between pages. A link to a file that is no page, such as a script, becomes plain code.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import commands  # noqa: E402
import notebook  # noqa: E402
import python_pages  # noqa: E402

CARDS = "reference/bundles"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def pages_from_elsewhere() -> dict[str, str]:
    """Pages of the site whose sources lie outside ``docs/``: path in the repository → place on the site."""
    pages = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
    for path in sorted(ROOT.glob("bundles/*/docs/*.md")):
        bundle = path.parts[-3]
        name = f"{bundle}.md" if path.stem == "README" else f"{bundle}-{path.stem.replace('_', '-')}.md"
        pages[path.relative_to(ROOT).as_posix()] = f"{CARDS}/{name}"
    return pages


ELSEWHERE = pages_from_elsewhere()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, place in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    pages = {"reference/commands.md": commands.page(), **python_pages.pages()}
    for source in sorted((ROOT / "docs").glob("*.ipynb")):
        name = source.stem
        text, pictures = notebook.convert(source)
        pages[f"{name}.md"] = text
        for picture, content in pictures.items():
            files.append(File.generated(config, picture, content=content))
        files.remove(files.src_uris[source.name])
    for place, content in pages.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    place = page.file.src_uri
    on_site = {path: uri for uri, path in ((uri, repository_path(uri)) for uri in files.src_uris)}
    folder = posixpath.dirname(repository_path(place))

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in on_site:
            return f"[{text}]({posixpath.relpath(on_site[path], posixpath.dirname(place) or '.')}{anchor})"
        if (ROOT / path).exists() and not path.startswith("docs/"):
            return text if "`" in text else f"`{path}`"
        return match[0]  # which the strict build then complains of

    return outside_code(markdown, lambda text: LINK.sub(link, text))


def repository_path(uri: str) -> str:
    """Where the source of a page of the site lies in the repository."""
    for path, place in ELSEWHERE.items():
        if place == uri:
            return path
    as_notebook = f"docs/{uri.removesuffix('.md')}.ipynb"
    return as_notebook if (ROOT / as_notebook).is_file() else f"docs/{uri}"


def outside_code(markdown: str, change) -> str:
    """Apply ``change`` to everything but fenced code."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else change(part) for part in parts)
