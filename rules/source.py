"""Rules about text in a formal language: XML, SQL, Python. Parsers only; nothing is ever executed or looked up."""

from __future__ import annotations

import ast
import logging
import threading
import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Final, Literal
from xml.parsers import expat

from pydantic import Field, field_validator

from rules.base import counted, failed, passed
from rules.structure import inside_fence
from rules.text import TextRule
from traces import NotApplicable, Verdict, well_formed

_NO_BLOCKS: Final = NotApplicable("no such code block")
_TOO_LONG: Final = NotApplicable("too long to be parsed")
_MOST_BLOCKS: Final = 50
_DEEP: Final = "is nested too deeply to be parsed"

_LONGEST_WITH_BLOCKS: Final = 1_000_000
_LONGEST_XML: Final = 5_000_000
_LONGEST_SQL: Final = 10_000
_LONGEST_PYTHON: Final = 30_000
"""Characters. Those of SQL and Python build trees, at some 15 and 9 µs for each character at worst."""

_QUIET: Final = threading.Lock()
"""Held while warnings are off: the interpreter keeps that for all threads together."""


class SourceRule(TextRule):
    """A rule over text in a formal language."""

    longest: ClassVar[int]
    tags: ClassVar[frozenset[str]]

    look_at: Literal["whole", "blocks"] = Field(
        default="whole",
        description="`blocks`: the Markdown code blocks of this language in the text, not the whole text",
    )

    def check_text(self, text: str) -> Verdict | NotApplicable:
        """Parse the text, or each of its blocks."""
        sources = [inside_fence(text)] if self.look_at == "whole" else self._blocks(text)
        if not sources:
            return _NO_BLOCKS
        for number, source in enumerate(sources, 1):
            if len(source) > self.longest:
                return _TOO_LONG
            problem = self.problem_of(well_formed(source))
            if problem is not None:
                return failed(f"block {number}: {problem}" if self.look_at == "blocks" else problem)
        return passed(f"{counted(len(sources), 'block')} in order" if self.look_at == "blocks" else "in order")

    @abstractmethod
    def problem_of(self, source: str) -> str | None:
        """Return what is wrong, without content of the text; None when nothing is."""

    def _blocks(self, text: str) -> list[str]:
        found: list[list[str]] = []
        fence = wanted = ""
        for line in text[:_LONGEST_WITH_BLOCKS].splitlines(keepends=True):
            bare = line.strip()
            if not fence and bare.startswith("```"):
                fence, wanted = bare[: len(bare) - len(bare.lstrip("`"))], bare.lstrip("`").strip().lower()
                found += [[]] if wanted in self.tags else []
            elif fence and bare == fence:
                fence = ""
            elif fence and wanted in self.tags:
                found[-1].append(line)
        return ["".join(lines) for lines in found[:_MOST_BLOCKS]]


class XmlValid(SourceRule):
    """The text is well-formed XML.

    A Markdown code fence around the whole of it is taken off. A document type (`<!DOCTYPE`) is refused and not read,
    and with it all entities but the five of XML itself: nothing can be expanded or fetched. Text of more than 5,000,000
    characters is not scored.
    """

    example: ClassVar = {"name": "answers-in-xml", "rule": "xml_valid"}
    longest: ClassVar = _LONGEST_XML
    tags: ClassVar = frozenset({"xml", "svg", "xhtml"})

    def problem_of(self, source: str) -> str | None:
        """Parse, keeping nothing."""
        parser = expat.ParserCreate("utf-8")
        refused: list[int] = []

        def refuse(*_: Any) -> None:
            refused.append(parser.CurrentLineNumber)
            raise ValueError

        parser.StartDoctypeDeclHandler = refuse
        try:
            parser.Parse(source.strip().encode(), True)
        except ValueError:
            return f"line {refused[0]}: a document type, which is not read"
        except expat.ExpatError as error:
            return f"no XML: {expat.ErrorString(error.code)} at line {error.lineno} column {error.offset + 1}"
        return None


class SqlValid(SourceRule):
    """The text is SQL that a parser understands: one or more statements.

    A Markdown code fence around the whole of it is taken off. Whether tables exist is not known. The parser (sqlglot)
    is more lenient than a database: what it refuses no database takes, but not the other way round. A bare expression
    or name is no statement. Text of more than 10,000 characters is not scored.
    """

    example: ClassVar = {"name": "query-parses", "rule": "sql_valid", "dialect": "postgres", "look_at": "blocks"}
    longest: ClassVar = _LONGEST_SQL
    tags: ClassVar = frozenset({"sql", "postgres", "postgresql", "mysql", "sqlite", "tsql", "bigquery", "snowflake"})

    dialect: str = Field(default="", description="such as postgres, mysql, sqlite, bigquery; without it, a common one")

    @field_validator("dialect")
    @classmethod
    def _is_known(cls, dialect: str) -> str:
        known = _sqlglot().Dialect.classes
        if dialect and dialect not in known:
            raise ValueError(f"unknown dialect {dialect!r}; known are {', '.join(sorted(filter(None, known)))}")
        return dialect

    def problem_of(self, source: str) -> str | None:
        """Parse each statement."""
        sqlglot = _sqlglot()
        try:
            statements = [each for each in sqlglot.parse(source, dialect=self.dialect or None) if each is not None]
        except sqlglot.errors.ParseError as error:
            first = error.errors[0] if error.errors else {}
            return f"no SQL: line {first.get('line', '?')} column {first.get('col', '?')}"
        except sqlglot.errors.SqlglotError:
            return "no SQL: cannot be cut into words"
        except RecursionError:
            return _DEEP
        if not statements:
            return "no statement"
        kinds = sqlglot.exp.Query, sqlglot.exp.DML, sqlglot.exp.DDL, sqlglot.exp.Command
        others = sqlglot.exp.Condition, sqlglot.exp.Alias, sqlglot.exp.Tuple
        strange = [at for at, one in enumerate(statements, 1) if isinstance(one, others) and not isinstance(one, kinds)]
        return f"statement {strange[0]} is an expression, no statement" if strange else None


class PythonValid(SourceRule):
    """The text is Python that can be parsed. It is never compiled or run, so names and imports are not looked at.

    A Markdown code fence around the whole of it is taken off. The grammar is that of the Python the service runs on.
    Text of more than 30,000 characters is not scored.
    """

    example: ClassVar = {"name": "code-parses", "rule": "python_valid", "look_at": "blocks"}
    longest: ClassVar = _LONGEST_PYTHON
    tags: ClassVar = frozenset({"python", "py", "python3"})

    def problem_of(self, source: str) -> str | None:
        """Parse, and forget the tree."""
        try:
            with _QUIET, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(source, filename="answer")
        except SyntaxError as error:
            kind = "is indented wrongly" if isinstance(error, IndentationError) else "cannot be parsed"
            return f"{kind}: line {error.lineno or '?'} column {error.offset or '?'}"
        except ValueError:
            return "has a NUL in it"
        except (RecursionError, MemoryError):
            return _DEEP
        return None


def _sqlglot() -> Any:
    """Load the parser when it is first needed; what it would log has the query in it."""
    import sqlglot  # noqa: PLC0415 - an eighth of a second that few need

    logging.getLogger("sqlglot").disabled = True
    return sqlglot
