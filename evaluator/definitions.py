"""config/*.yaml -> frozen, validated definitions.

All problems of all files are told at once, each with file:line:column, what was expected and the nearest valid name.
Formatting changes nothing: a definition's version is a hash of what was validated, not of the text.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import orjson
from pydantic import BaseModel, Field, ValidationError

from evaluator.errors import ConfigError, Problem
from evaluator.service_config import Section, ServiceConfig
from evaluator.yaml_source import Source, nearest, plain, problems_of, read
from judges import Price, Rubric, RubricSpec
from monitors import MonitorSpec
from rules import Rule, collect
from traces import DataType, SampleRule, When

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9 _.()-]{0,34}$"
"""What Langfuse takes as the name of a score config (contract 1.2); a comma would make the score unreadable."""

T = TypeVar("T", bound=BaseModel)


class RuleHeader(Section):
    """What every entry of rules.yaml has, whatever its kind."""

    name: str = Field(pattern=_NAME, description="name of the score in Langfuse; 1 to 35 characters")
    rule: str = Field(description="the kind of check; `evaluator rules` lists them")
    description: str = Field(default="", description="for people")
    when: When = Field(default=When(), description="which traces; without it, all")
    sample: tuple[SampleRule, ...] = Field(
        default=(SampleRule(rate=1),), min_length=1, description="at which rate; without it, every matching trace"
    )


@dataclass(frozen=True, slots=True)
class Evaluator:
    """One thing that scores traces: a rule or a rubric, on what, and at which rate."""

    name: str
    kind: Literal["rule", "rubric"]
    when: When
    sample: tuple[SampleRule, ...]
    version: str
    data_type: DataType
    rule: Rule | None = None
    rubric: Rubric | None = None


@dataclass(frozen=True, slots=True)
class Definitions:
    """Everything the config folder says. `notes` are remarks that keep nothing from running."""

    service: ServiceConfig
    evaluators: tuple[Evaluator, ...]
    monitors: tuple[MonitorSpec, ...]
    folder: Path
    notes: tuple[str, ...] = ()

    @property
    def prices(self) -> Mapping[str, Price]:
        """USD per million tokens, by model."""
        return self.service.models.prices


def load(folder: Path) -> Definitions:
    """Read a config folder.

    Raises:
        ConfigError: with every problem of every file.
    """
    if not folder.is_dir():
        raise ConfigError([Problem(str(folder), "is not a folder; set EVALUATOR_CONFIG, or run `evaluator init`")])
    loader = _Loader(folder)
    service = loader.service()
    evaluators = [*loader.rules(service), *loader.rubrics()]
    monitors = list(loader.monitors())
    if loader.problems:
        raise ConfigError(sorted(loader.problems, key=_by_place))
    return Definitions(service, tuple(evaluators), tuple(monitors), folder, tuple(_notes(evaluators, monitors)))


class _Loader:
    """Reads the files of one folder and gathers what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}
        self.problems: list[Problem] = []

    def service(self) -> ServiceConfig:
        source = self._read(self._folder / "evaluator.yaml")
        if source is None or source.value is None:
            return ServiceConfig()
        return self._valid(ServiceConfig, source, source.value, ()) or ServiceConfig()

    def rules(self, service: ServiceConfig) -> Iterator[Evaluator]:
        kinds = self.kinds(service)
        for source, index, entry in self._entries("rules.yaml"):
            found = self._rule(source, index, entry, kinds)
            if found is not None:
                yield found

    def rubrics(self) -> Iterator[Evaluator]:
        for path in sorted((self._folder / "rubrics").glob("*.y*ml")):
            source = self._read(path)
            if source is None:
                continue
            spec = self._valid(RubricSpec, source, source.value, ())
            if spec is not None:
                self._name(spec.name, source, ("name",))
                rubric = Rubric(spec)
                yield Evaluator(
                    spec.name, "rubric", spec.when, spec.sample, rubric.version, rubric.data_type, rubric=rubric
                )

    def monitors(self) -> Iterator[MonitorSpec]:
        seen: dict[str, str] = {}
        for source, index, entry in self._entries("monitors.yaml"):
            spec = self._valid(MonitorSpec, source, entry, (index,))
            if spec is None:
                continue
            place = source.place((index, "score"))
            first = seen.setdefault(spec.key, place)
            if first != place:
                self.problems.append(Problem(place, f"score {spec.score!r} is already watched at {first}"))
            yield spec

    def _rule(self, source: Source, index: int, entry: Any, kinds: Mapping[str, type[Rule]]) -> Evaluator | None:
        if not isinstance(entry, dict):
            self.problems.append(Problem(source.place((index,)), "expected a rule: {name: ..., rule: ...}"))
            return None
        common = {key: value for key, value in entry.items() if key in RuleHeader.model_fields}
        header = self._valid(RuleHeader, source, common, (index,))
        kind = kinds.get(str(entry.get("rule")))
        if kind is None:
            if "rule" in entry:
                what = f"rule: unknown kind {str(entry['rule'])!r}; {nearest(str(entry['rule']), kinds)}"
                self.problems.append(Problem(source.place((index, "rule")), what))
            return None
        own = {key: value for key, value in entry.items() if key not in RuleHeader.model_fields}
        rule = self._valid(kind, source, own, (index,))
        if header is None or rule is None:
            return None
        self._name(header.name, source, (index, "name"))
        version = _hash({"kind": kind.kind, "fields": rule.model_dump(mode="json"), "source": _source(kind)})
        return Evaluator(header.name, "rule", header.when, header.sample, version, kind.gives, rule=rule)

    def kinds(self, service: ServiceConfig) -> Mapping[str, type[Rule]]:
        try:
            return collect(*_rule_folders(self._folder, service))
        except ValueError as error:
            self.problems.append(Problem(str(self._folder / "evaluator.yaml"), f"rules_path: {error}"))
            return collect()

    def _read(self, path: Path) -> Source | None:
        if not path.exists():
            return None
        source = read(path)
        self.problems.extend(source.problems)
        return None if source.problems else source

    def _entries(self, name: str) -> Iterator[tuple[Source, int, Any]]:
        source = self._read(self._folder / name)
        if source is None or source.value is None:
            return
        if not isinstance(source.value, list):
            self.problems.append(Problem(f"{source.path}:1:1", "expected a list: each entry begins with `- `"))
            return
        for index, entry in enumerate(source.value):
            yield source, index, entry

    def _valid(self, model: type[T], source: Source, value: Any, where: Sequence[int | str]) -> T | None:
        try:
            return model.model_validate(plain(value))
        except ValidationError as error:
            self.problems.extend(problems_of(error, source, model, where))
            return None

    def _name(self, name: str, source: Source, location: Sequence[int | str]) -> None:
        place = source.place(location)
        first = self._names.setdefault(name, place)
        if first != place:
            self.problems.append(Problem(place, f"name: {name!r} is already defined at {first}"))


def schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """Return a JSON Schema for each kind of file, by file name; a team's own rule kinds are in it.

    Raises:
        ConfigError: the folder's evaluator.yaml, or a team's own rule, cannot be read.
    """
    loader = _Loader(folder)
    kinds = loader.kinds(loader.service())
    if loader.problems:
        raise ConfigError(loader.problems)
    return {
        "evaluator.schema.json": ServiceConfig.model_json_schema(),
        "rules.schema.json": _rules_schema(kinds),
        "rubric.schema.json": RubricSpec.model_json_schema(),
        "monitors.schema.json": _list_of(MonitorSpec.model_json_schema()),
    }


def _rules_schema(kinds: Mapping[str, type[Rule]]) -> dict[str, Any]:
    """Each kind is one alternative: its own fields beside those of every rule."""
    common = RuleHeader.model_json_schema()
    shared = common.pop("$defs", {})
    alternatives = []
    for name, kind in kinds.items():
        own = kind.model_json_schema()
        shared |= own.pop("$defs", {})
        alternatives.append(
            {
                "type": "object",
                "description": own.get("description", ""),
                "properties": common["properties"] | own.get("properties", {}) | {"rule": {"const": name}},
                "required": ["name", "rule", *own.get("required", [])],
                "additionalProperties": False,
            }
        )
    return {"type": "array", "items": {"anyOf": alternatives}, "$defs": shared}


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    shared = schema.pop("$defs", {})
    return {"type": "array", "items": schema, "$defs": shared}


def _rule_folders(folder: Path, service: ServiceConfig) -> list[Path]:
    return [] if service.rules_path is None else [folder / service.rules_path]


def _notes(evaluators: Sequence[Evaluator], monitors: Sequence[MonitorSpec]) -> Iterator[str]:
    names = [evaluator.name for evaluator in evaluators]
    for monitor in monitors:
        if monitor.score not in names:
            near = nearest(monitor.score, names)
            if near.startswith("did you mean"):
                yield f"monitors.yaml watches {monitor.score!r}, which no evaluator here writes; {near}"


def _hash(value: Any) -> str:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()


def _source(kind: type[Rule]) -> str:
    file = inspect.getsourcefile(kind)
    return Path(file).read_text(encoding="utf-8") if file else ""


def _by_place(problem: Problem) -> tuple[str, list[int], str]:
    path, *numbers = problem.where.split(":")
    return path, [int(number) for number in numbers if number.isdigit()], problem.what
