"""Measure the source of Python packages: sizes of files and functions, comments, annotations, docstrings.

    python benchmarks/code_measures.py                        # monai_spine and data_prep
    python benchmarks/code_measures.py monai_spine ../torchio/src/torchio

The source is read with `ast` and `tokenize`; nothing is imported. There are two ways of counting files:

- The table counts modules without ``__init__.py``, because files that only import would hide long ones in the median.
- The last lines count every ``*.py`` file, ``__init__.py`` included. Issues give sizes in this way: 353 files and
  39.0 thousand lines at commit ec5d54b (monai_spine 205 files and 22,028 lines, data_prep 148 and 16,949).
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHORT_FILE = 80
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Measures:
    """What was counted in the modules of one package."""

    name: str
    files: list[int] = field(default_factory=list)
    """Lines of each module."""
    folders: Counter[Path] = field(default_factory=Counter)
    functions: list[int] = field(default_factory=list)
    """Lines of each function, from ``def`` to its last line, docstring included."""
    annotated: int = 0
    """Functions whose arguments and result are all annotated."""
    public: int = 0
    """Modules, and classes and functions whose name has no underscore in front."""
    documented: int = 0
    line_lengths: list[int] = field(default_factory=list)
    """Characters of each line that is not blank."""
    comments: int = 0
    """All comments, those for tools (``noqa``) included, as other packages were counted."""
    code_lines: int = 0
    """Lines with at least one token of code. Lines of docstrings do not count."""
    all_files: int = 0
    all_lines: int = 0

    def add(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        self.all_files += 1
        self.all_lines += len(lines)
        if path.name == "__init__.py":
            return
        self.files.append(len(lines))
        self.folders[path.parent] += 1
        self.line_lengths += [len(line) for line in lines if line.strip()]
        tree = ast.parse(text)
        self._count_definitions(tree)
        self._count_tokens(text, docstring_lines(tree))

    def _count_definitions(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, Function):
                self.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
                self.annotated += is_annotated(node)
            if isinstance(node, ast.Module) or (
                isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
            ):
                self.public += 1
                self.documented += ast.get_docstring(node) is not None

    def _count_tokens(self, text: str, docstrings: set[int]) -> None:
        code: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                self.comments += 1
            elif token.type not in LAYOUT:
                code |= set(range(token.start[0], token.end[0] + 1))
        self.code_lines += len(code - docstrings)


def is_annotated(node: Function) -> bool:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    if arguments and arguments[0].arg in ("self", "cls"):
        arguments = arguments[1:]
    return all(one.annotation for one in arguments) and (node.returns is not None or node.name == "__init__")


def docstring_lines(tree: ast.Module) -> set[int]:
    """Lines of strings that stand alone: docstrings, and those of attributes."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def measure(package: Path) -> Measures:
    measures = Measures(package.name)
    for path in sorted(package.rglob("*.py")):
        measures.add(path)
    if not measures.files:
        raise SystemExit(f"no Python module was found in {package}")
    return measures


def median_and_p90(numbers: Sequence[int]) -> str:
    if len(numbers) < 2:
        return "/".join(str(number) for number in numbers)
    return f"{statistics.median(numbers):.0f}/{p90(numbers):.0f}"


def p90(numbers: Sequence[int]) -> float:
    return statistics.quantiles(numbers, n=10, method="inclusive")[-1]


def percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


ROWS: dict[str, Callable[[Measures], str]] = {
    "files": lambda m: str(len(m.files)),
    "function median / p90": lambda m: median_and_p90(m.functions),
    "file median / p90": lambda m: median_and_p90(m.files),
    "files under 80 lines": lambda m: percent(sum(lines < SHORT_FILE for lines in m.files), len(m.files)),
    "most files in one folder": lambda m: str(max(m.folders.values())),
    "comments per 100 code lines": lambda m: f"{100 * m.comments / max(m.code_lines, 1):.1f}",
    "annotated": lambda m: percent(m.annotated, len(m.functions)),
    "line length p90": lambda m: f"{p90(m.line_lengths):.0f}",
    "docstrings of what is public": lambda m: percent(m.documented, m.public),
}


def table(columns: Sequence[Measures]) -> str:
    head = ["", *(one.name for one in columns)]
    rows = [[name, *(figure(one) for one in columns)] for name, figure in ROWS.items()]
    align = ["---", *("--:" for _ in columns)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).parents[1]
    default = [root / "monai_spine", root / "data_prep"]
    parser.add_argument("packages", nargs="*", type=Path, default=default, help="folders of packages")
    columns = [measure(path.resolve()) for path in parser.parse_args().packages]
    print(table(columns))
    print()
    for one in columns:
        print(f"{one.name}: {one.all_files} files, {one.all_lines:,} lines, __init__.py included")
    print(f"all: {sum(one.all_files for one in columns)} files, {sum(one.all_lines for one in columns):,} lines")


if __name__ == "__main__":
    main()
