"""config/*.yaml -> frozen, validated definitions.

All problems of all files are told at once, each with file:line:column, what was expected and the nearest valid name.
Formatting changes nothing: a definition's version is a hash of what was validated, not of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from evaluator.definitions.evaluators import Evaluator, never_found, unanswerable, unwatchable, with_verdicts
from evaluator.definitions.mistakes import near, nearest, problems_of
from evaluator.definitions.remarks import remarks, unpriced
from evaluator.definitions.rule_header import RuleHeader, context_of, own_fields, rules_schema, unreachable, version_of
from evaluator.definitions.service_config import EditorSchema, ModelsConfig, ServiceConfig
from evaluator.definitions.yaml_source import Source, read
from evaluator.errors import ConfigError, Problem
from judges import DEFAULT_CONTEXT, Price, Rubric, RubricSpec, grouped
from monitors import MonitorSpec
from rules import Rule, collect

_FILES: Final = ("evaluator.yaml", "monitors.yaml", "rules.yaml")

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Definitions:
    """Everything the config folder says.

    `notes` are remarks that keep nothing from running. `off` are the rubrics that are switched off: as valid as the
    others, and never run.
    """

    service: ServiceConfig
    evaluators: tuple[Evaluator, ...]
    monitors: tuple[MonitorSpec, ...]
    folder: Path
    notes: tuple[str, ...] = ()
    off: tuple[Evaluator, ...] = ()

    @property
    def prices(self) -> Mapping[str, Price]:
        """USD per million tokens, by model."""
        return self.service.models.known_prices

    def with_prices_of(self, other: Definitions) -> Definitions:
        """Return these definitions with the prices of models that only the other ones know; where both do, these."""
        models = self.service.models
        missing = {name: price for name, price in other.prices.items() if name not in self.prices}
        more = models.model_copy(update={"prices": models.prices | missing})
        return replace(self, service=self.service.model_copy(update={"models": more}))

    @property
    def models(self) -> list[str]:
        """Every model that may be asked: those of rubrics, and those that answer in their place."""
        rubrics = (evaluator.rubric for evaluator in self.evaluators if evaluator.rubric is not None)
        return self.service.models.asked_for(model for rubric in rubrics for model in rubric.spec.judge.every_model)

    def with_on(self, names: Sequence[str]) -> Definitions:
        """Return these definitions with the rubrics of some names switched on: to test or try them."""
        chosen = tuple(each for each in self.off if each.name in names)
        off = tuple(each for each in self.off if each not in chosen)
        return replace(self, evaluators=(*self.evaluators, *chosen), off=off) if chosen else self

    def rubrics(self, names: Sequence[str] = ()) -> list[Rubric]:
        """Return the rubrics of these names, or all that are switched on, in the order of their files.

        Raises:
            ConfigError: there is none of a name, with the nearest one.
        """
        known = {each.name: each.rubric for each in self.evaluators if each.rubric is not None}
        off = [each.name for each in self.off]
        where = str(self.folder / "rubrics")
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                Problem(where, f"no rubric is named {name!r}; {nearest(name, [*known, *off])}") for name in unknown
            )
        return [each for name, each in known.items() if not names or name in names]

    def watched(self, names: Sequence[str] = ()) -> list[MonitorSpec]:
        """Return the monitors of these names, or all, in the order of their file.

        Raises:
            ConfigError: there is none of a name, with the nearest one.
        """
        known = {spec.key: spec for spec in self.monitors}
        where = str(self.folder / "monitors.yaml")
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                Problem(where, f"no monitor is named {name!r}; {nearest(name, known)}") for name in unknown
            )
        return [spec for key, spec in known.items() if not names or key in names]


def load(folder: Path) -> Definitions:
    """Read a config folder.

    Raises:
        ConfigError: with every problem of every file.
    """
    if not folder.is_dir():
        raise ConfigError([Problem(str(folder), "is not a folder; set EVALUATOR_CONFIG, or run `evaluator init`")])
    loader = _Loader(folder)
    service = loader.service()
    rules, rubrics = list(loader.rules()), list(loader.rubrics(service))
    loader.check_fallbacks(service.models, rubrics)
    off = [each for each in rubrics if each.is_off]
    evaluators = loader.asking([*rules, *loader.grouped(each for each in rubrics if not each.is_off)])
    monitors = list(loader.monitors(evaluators))
    specs = [evaluator.rubric.spec for evaluator in evaluators if evaluator.rubric is not None]
    names = [name for evaluator in evaluators for name in evaluator.scores]
    unwritten = {score: one.name for one in off for score in one.scores}
    asked = (never_found(each, evaluators) for each in evaluators)
    notes = [*loader.unread(), *filter(None, asked), *remarks(service, names, specs, monitors, unwritten)]
    loader.problems.extend(unpriced(folder, service, specs))
    if loader.problems:
        raise ConfigError(sorted(dict.fromkeys(loader.problems), key=_by_place))
    return Definitions(service, tuple(evaluators), tuple(monitors), folder, tuple(notes), tuple(off))


class _Loader:
    """Reads the files of one folder and gathers what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rules_path: tuple[str, str] | None = None
        self._service: Source | None = None
        self._names: dict[str, str] = {}
        self.problems: list[Problem] = []

    def service(self) -> ServiceConfig:
        source = self._read(self._folder / "evaluator.yaml")
        if source is None or source.value is None:
            return ServiceConfig()
        self._service = source
        # Kept even when the rest of the file is wrong: without it every rule of the team would be unknown too.
        if isinstance(source.value, dict) and isinstance(path := source.value.get("rules_path"), str):
            self._rules_path = path, source.place(("rules_path",))
        return self._valid(ServiceConfig, source, source.value, ()) or ServiceConfig()

    def check_fallbacks(self, models: ModelsConfig, rubrics: Iterable[Evaluator]) -> None:
        """Let no question go to a model that is only a slip of the pen: its server would refuse it, one day."""
        if self._service is None:
            return
        used = {model for one in rubrics if one.rubric is not None for model in one.rubric.spec.judge.every_model}
        for name, index, model in models.strange_fallbacks(used):
            place = self._service.place(("models", "entries", name, "fallback", index))
            meant = nearest(model, used | {*models.entries})
            self.problems.append(Problem(place, f"models.entries.{name}.fallback: unknown model {model!r}; {meant}"))

    def kinds(self) -> Mapping[str, type[Rule]]:
        """Return the kinds of rules: ours, and the team's own when they can be read."""
        path, place = self._rules_path or ("", f"{self._folder / 'rules.yaml'}:1:1")
        try:
            return collect(*([self._folder / path] if path else []), installed=True)
        except ValueError as error:
            self.problems.append(Problem(place, f"rules_path: {error}" if path else str(error)))
        return collect()

    def rules(self) -> Iterator[Evaluator]:
        before = len(self.problems)
        kinds = self.kinds()
        complete = len(self.problems) == before
        for source, index, entry in self._entries("rules.yaml"):
            found = self._rule(source, index, entry, kinds, complete=complete)
            if found is not None:
                yield found

    def rubrics(self, service: ServiceConfig) -> Iterator[Evaluator]:
        for path in _yaml_files(self._folder / "rubrics"):
            source = self._read(path)
            if source is None:
                continue
            spec = self._valid(RubricSpec, source, source.value, ())
            if spec is not None:
                for name in spec.score_names:
                    self._name(name, source, ("name",))
                judge = spec.judge
                if judge.lane == "batch" and service.models.is_elsewhere(judge.model):
                    what = (
                        f"judge.lane: batches go to OPENAI_BASE_URL, and models.entries has {judge.model!r} elsewhere"
                    )
                    self.problems.append(Problem(source.place(("judge", "lane")), what))
                context = service.models.context_of(judge.every_model, DEFAULT_CONTEXT)
                rubric = Rubric(spec, context=context, redaction=service.redact)
                yield Evaluator(
                    spec.name,
                    "rubric",
                    spec.when,
                    spec.sample,
                    rubric.version,
                    rubric.data_type,
                    rubric=rubric,
                    observe=spec.observe,
                    idle=spec.idle if spec.target == "session" else None,
                )

    def grouped(self, rubrics: Iterable[Evaluator]) -> list[Evaluator]:
        """Let the rubrics of a group know each other."""
        known = list(rubrics)
        try:
            among = grouped([evaluator.rubric for evaluator in known if evaluator.rubric is not None])
        except ValueError as error:
            self.problems.append(Problem(f"{self._folder / 'rubrics'}:1:1", f"judge.group: {error}"))
            return known
        return [replace(one, rubric=rubric, version=rubric.version) for one, rubric in zip(known, among, strict=True)]

    def asking(self, evaluators: Sequence[Evaluator]) -> list[Evaluator]:
        """Let evaluators know the rules whose verdicts their filters ask for."""
        known = with_verdicts(evaluators)
        for each in known:
            if (what := unanswerable(each)) is not None:
                self.problems.append(Problem(self._names[each.name], what))
        return known

    def monitors(self, evaluators: Sequence[Evaluator]) -> Iterator[MonitorSpec]:
        """Give what monitors.yaml watches: scores that these write, and others."""
        seen: dict[str, str] = {}
        for source, index, entry in self._entries("monitors.yaml"):
            spec = self._valid(MonitorSpec, source, entry, (index,))
            if spec is None:
                continue
            place = source.place((index, "score"))
            if spec.key in seen:
                self.problems.append(Problem(place, f"score {spec.score!r} is already watched at {seen[spec.key]}"))
            seen.setdefault(spec.key, place)
            if (what := unwatchable(spec, evaluators)) is not None:
                self.problems.append(Problem(place, what))
            yield spec

    def unread(self) -> Iterator[str]:
        """Say which YAML files nobody reads; one that was surely meant to be read is a problem."""
        for path in _yaml_files(self._folder):
            if path.name in _FILES:
                continue
            meant = near(path.stem, (Path(name).stem for name in _FILES))
            if meant is not None:
                said = f"is not read under this name; did you mean '{meant}.yaml'?"
                self.problems.append(Problem(f"{path}:1:1", said))
            else:
                yield f"{path.name} is not read; the files are {', '.join(_FILES)} and rubrics/*.yaml"
        for path in sorted((self._folder / "rubrics").glob("*/**/*.y*ml")):
            self.problems.append(Problem(f"{path}:1:1", "is not read; rubrics stand in rubrics/ itself"))

    def _rule(
        self, source: Source, index: int, entry: Any, kinds: Mapping[str, type[Rule]], *, complete: bool
    ) -> Evaluator | None:
        """Validate one entry of rules.yaml; a kind is unknown for sure only when `kinds` is `complete`."""
        if not isinstance(entry, dict):
            self.problems.append(Problem(source.place((index,)), "expected a rule: {name: ..., rule: ...}"))
            return None
        common = {key: value for key, value in entry.items() if key in RuleHeader.model_fields}
        header = self._valid(RuleHeader, source, common, (index,))
        named = entry.get("rule")
        kind = kinds.get(named) if isinstance(named, str) else None
        if kind is None:
            if isinstance(named, str) and complete:
                what = f"rule: unknown kind {named!r}; {nearest(named, kinds)}"
                self.problems.append(Problem(source.place((index, "rule")), what))
            return None
        beside, context = RuleHeader.model_fields, context_of(entry, kinds)
        rule = self._valid(kind, source, own_fields(kind, entry), (index,), beside, context)
        if header is None or rule is None:
            return None
        self._name(header.name, source, (index, "name"))
        for field, what in unreachable(rule, header.target):
            self.problems.append(Problem(source.place((index, field)), f"{field}: {what}"))
        return Evaluator(
            header.name,
            "rule",
            header.when,
            header.sample,
            version_of(rule),
            rule.writes,
            rule=rule,
            observe=header.observe,
            severity=header.severity,
        )

    def _read(self, path: Path) -> Source | None:
        source = read(path)
        if source is None:
            return None
        self.problems.extend(source.problems)
        return source if source.value is not None or not source.problems else None

    def _entries(self, name: str) -> Iterator[tuple[Source, int, Any]]:
        source = self._read(self._folder / name)
        if source is None or source.value is None:
            return
        if not isinstance(source.value, list):
            self.problems.append(Problem(f"{source.path}:1:1", "expected a list: each entry begins with `- `"))
            return
        for index, entry in enumerate(source.value):
            yield source, index, entry

    def _valid(
        self,
        model: type[T],
        source: Source,
        value: Any,
        where: Sequence[int | str],
        beside: Iterable[str] = (),
        context: Mapping[str, Any] | None = None,
    ) -> T | None:
        try:
            return model.model_validate(value, context={"folder": self._folder, **(context or {})})
        except ValidationError as error:
            self.problems.extend(problems_of(error, source, model, where, beside))
            return None

    def _name(self, name: str, source: Source, location: Sequence[int | str]) -> None:
        place = source.place(location)
        if name in self._names:
            again = f"is already defined at {self._names[name]}"
            told = again if self._names[name] != place else "is defined again where this anchor is used"
            self.problems.append(Problem(place, f"name: {name!r} {told}"))
        self._names.setdefault(name, place)


def rule_kinds(folder: Path) -> Mapping[str, type[Rule]]:
    """Return every kind of rule that a folder may use, by name; raises as `schemas` does."""
    loader = _Loader(folder)
    loader.service()
    kinds = loader.kinds()
    if loader.problems:
        raise ConfigError(loader.problems)
    return kinds


def schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """Return a JSON Schema for each kind of file, by file name; a team's own rule kinds are in it.

    Raises:
        ConfigError: the folder's evaluator.yaml, or a team's own rule, cannot be read.
    """
    kinds = rule_kinds(folder)
    return {
        "evaluator.schema.json": ServiceConfig.model_json_schema(schema_generator=EditorSchema),
        "rules.schema.json": rules_schema(kinds),
        "rubric.schema.json": RubricSpec.model_json_schema(schema_generator=EditorSchema),
        "monitors.schema.json": _list_of(MonitorSpec.model_json_schema()),
    }


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    shared = schema.pop("$defs", {})
    return {"type": "array", "items": schema, "$defs": shared}


def _yaml_files(folder: Path) -> list[Path]:
    """Return a folder's YAML files in order; hidden ones belong to editors and file systems."""
    return sorted(path for path in folder.glob("*.y*ml") if not path.name.startswith("."))


def _by_place(problem: Problem) -> tuple[str, list[int], str]:
    path, *numbers = problem.where.rsplit(":", 2)
    return path, [int(number) for number in numbers if number.isdigit()], problem.what
