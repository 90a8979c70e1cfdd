"""A notebook as a page: its text, its code, and the outputs that are stored in it. Nothing is executed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any


def convert(path: Path) -> tuple[str, dict[str, bytes]]:
    """The page in Markdown, and its pictures by their place on the site."""
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        language = "sh" if source.startswith("!") else "python"
        parts.append(f"```{language}\n{source}\n```")
        parts += [output_text(output, path.stem, pictures) for output in cell["outputs"]]
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def output_text(output: dict[str, Any], page: str, pictures: dict[str, bytes]) -> str:
    data = output.get("data", {})
    for media_type, ending in (("image/png", "png"), ("image/jpeg", "jpg")):
        if media_type in data:
            name = f"{page}-{len(pictures) + 1}.{ending}"
            pictures[name] = base64.b64decode("".join(data[media_type]))
            return f"![Output of the cell above]({name})"
    text = "".join(output.get("text") or data.get("text/plain") or "").rstrip()
    return f'```text title="output"\n{text}\n```' if text else ""
