"""Pages of HTML that ask nobody for anything: no script, no font, no picture from elsewhere; one style for all."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str) -> Template:
    """Return a template of ours. Every text that it shows is escaped: names and reasons come from strangers."""
    environment = Environment(
        loader=PackageLoader("evaluator.pages", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
