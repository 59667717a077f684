"""Deterministic checks of a trace: one small class a kind.

A new kind is a subclass of `Rule` in a module of this package, or in a file of a team's own folder; `collect` finds it.
"""

from rules.base import Rule, failed, measured, passed, quoted
from rules.collect import collect
from rules.text import TextRule

__all__ = ["Rule", "TextRule", "collect", "failed", "measured", "passed", "quoted"]
