"""Writes the parts of the documentation that follow from the code; `--check` only says whether they are fresh."""

from __future__ import annotations

import sys
from pathlib import Path

import rules
from evaluator.settings import variables
from rules.document import markdown

DOCS = Path(__file__).parent


def pages() -> dict[Path, str]:
    """Return every generated page."""
    return {DOCS / "rules.md": markdown(rules.collect()), DOCS / "settings.md": _settings()}


def main() -> int:
    """Write the pages, or with `--check` return 1 when one is stale."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"docs/{path.name} is stale: run `make docs`\n")
        else:
            path.write_text(pages()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in sys.argv)


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "Environment variables say where the services are; what is evaluated is in the config folder.",
        "Each may also be given as `NAME_FILE`, the path of a file that holds the value.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {f'`{default}`' if default else ''} | {what} |" for name, default, what in variables()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
