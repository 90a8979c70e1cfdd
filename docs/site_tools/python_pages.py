"""Pages of the Python API, one for each sub-package; mkdocstrings fills them from docstrings, without imports."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("monai_spine", "data_prep")
FOLDER = "reference/python"


def pages() -> dict[str, str]:
    """Content by place on the site."""
    index = [
        "# Python API\n",
        "Everything here is made from docstrings. To use the library in your own code, begin with "
        "[Embedding the library](../../how-to/embedding.md).\n",
    ]
    made = {}
    for package in PACKAGES:
        index.append(f"## {package}\n\n| | |\n|---|---|")
        for part in parts(ROOT / package):
            name = ".".join(part.relative_to(ROOT).with_suffix("").parts)
            made[f"{FOLDER}/{name}.md"] = f"# {name}\n\n" + "\n".join(blocks(part))
            index.append(f"| [{name}]({name}.md) | {summary(part)} |")
        index.append("")
    return {f"{FOLDER}/index.md": "\n".join(index), **made}


def parts(package: Path) -> list[Path]:
    """Sub-packages and modules at the top of a package."""
    paths = [
        path
        for path in package.iterdir()
        if (path / "__init__.py").is_file() or (path.suffix == ".py" and not path.stem.startswith("__"))
    ]
    return sorted(paths, key=lambda path: (path.is_file(), path.name))


def blocks(part: Path) -> list[str]:
    modules = [part] if part.is_file() else sorted(part.rglob("*.py"))
    names = []
    for module in modules:
        if module.stem == "__main__" or (module.stem == "__init__" and not defines_something(module)):
            continue
        path = module.relative_to(ROOT)
        names.append(".".join(path.parent.parts if module.stem == "__init__" else path.with_suffix("").parts))
    return [f"::: {name}\n" for name in names]


def defines_something(module: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(module.read_text()).body)


def summary(part: Path) -> str:
    """The first sentence of a docstring."""
    module = part / "__init__.py" if part.is_dir() else part
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
