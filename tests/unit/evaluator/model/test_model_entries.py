"""models.entries of evaluator.yaml: what may stand there, which keys are read, what is told of a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evaluator.definitions import Definitions, load
from evaluator.definitions.service_config import ModelEntry, ModelsConfig
from evaluator.errors import ConfigError
from evaluator.limits import OpenGate, TokenGate
from evaluator.model.entries import model_arguments
from evaluator.settings import Settings, key_in

RUBRIC = """
name: tone
inputs: {answer: $.root.output}
criteria: Is it friendly?
score: {type: numeric, min: 1, max: 5}
judge: {model: cheap, %s}
"""

ENTRIES = """
models:
  prices: {far: {input: 3, output: 4}}
  entries:
    cheap: {fallback: [strong, far], price: {input: 1, output: 2}}
    strong: {base_url: "https://strong.example/v1", key: STRONG_KEY, model: big-1, requests_per_minute: 60}
    local: {base_url: "http://localhost:11434/v1", context: 8000}
    unused: {base_url: "https://unused.example/v1", key: UNUSED_KEY}
"""


def defined(folder: Path, judge: str = "jury: [local], samples: 1", service: str = ENTRIES) -> Definitions:
    (folder / "rubrics").mkdir(exist_ok=True)
    (folder / "rubrics" / "tone.yaml").write_text(RUBRIC % judge)
    (folder / "evaluator.yaml").write_text(service)
    return load(folder)


def arguments(definitions: Definitions) -> tuple[dict[str, Any], list[tuple[str, int | None]]]:
    made: list[tuple[str, int | None]] = []

    def gate_of(name: str, per_minute: int | None, _tokens: int | None) -> TokenGate:
        made.append((name, per_minute))
        return OpenGate()

    settings = Settings(openai_api_key="sk-ours", openai_base_url="https://ours.example/v1")
    return model_arguments(settings, definitions, gate_of), made


class TestEntries:
    def test_each_model_in_use_has_its_server_its_key_and_its_gate(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRONG_KEY", "sk-strong")
        known, gates = arguments(defined(tmp_path))
        entries = known["entries"]
        assert sorted(entries) == ["cheap", "local", "strong"]
        assert gates == [("model", None), ("model:local", None), ("model:strong", 60)]
        assert (entries["strong"].endpoint.base_url, entries["strong"].endpoint.api_key) == (
            "https://strong.example/v1",
            "sk-strong",
        )
        assert (entries["strong"].name, entries["cheap"].name) == ("big-1", "cheap")
        assert entries["cheap"].fallback == ("strong", "far")
        assert (entries["cheap"].endpoint.base_url, entries["cheap"].gate) == ("https://ours.example/v1", known["gate"])

    def test_our_key_goes_to_our_server_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRONG_KEY", "sk-strong")
        entries = arguments(defined(tmp_path))[0]["entries"]
        assert entries["local"].endpoint.api_key == ""
        assert entries["cheap"].endpoint.api_key == "sk-ours"
        assert "sk-strong" not in repr(entries)

    def test_a_key_that_is_missing_is_told_by_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("STRONG_KEY", raising=False)
        with pytest.raises(ConfigError, match="STRONG_KEY: is not set"):
            arguments(defined(tmp_path))

    def test_models_and_prices_are_those_of_rubrics_and_their_deputies(self, tmp_path: Path) -> None:
        definitions = defined(tmp_path)
        assert definitions.models == ["cheap", "local", "strong", "far"]
        assert sorted(definitions.prices) == ["cheap", "far"]
        assert [note for note in definitions.notes if "'strong'" in note and "no price" in note]
        assert not [note for note in definitions.notes if "'cheap'" in note]

    def test_the_smallest_context_of_a_jury_counts(self, tmp_path: Path) -> None:
        (rubric,) = defined(tmp_path).rubrics()
        long = {"answer": "word " * 20_000}
        assert "characters_left_out" in rubric.question_from(long).details  # type: ignore[union-attr]

    def test_batches_are_not_sent_elsewhere(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"tone.yaml:6.*judge.lane: batches go to OPENAI_BASE_URL"):
            defined(tmp_path, "lane: batch", "models: {entries: {cheap: {base_url: 'https://x.example/v1'}}}")


class TestMistakes:
    @pytest.mark.parametrize(
        ("entry", "told"),
        [
            ({"base_url": "api.example/v1"}, "expected an address"),
            ({"base_url": "https://me:pass-4711@api.example/v1"}, "holds a user name or password"),
            ({"key": "sk-4711-secret"}, "never a key"),
            ({"api_version": "2024-10-21"}, "set base_url"),
            ({"context": 10}, "greater than or equal to 2000"),
            ({"fallback": ["a", "b", "c", "d", "e"]}, "at most 4"),
        ],
    )
    def test_a_wrong_entry_says_what_was_expected(self, entry: dict[str, Any], told: str) -> None:
        with pytest.raises(ValidationError, match=told):
            ModelEntry.model_validate(entry)

    def test_a_key_in_the_file_is_refused_and_not_repeated(self, tmp_path: Path) -> None:
        for entry in ("key: sk-4711-secret", "base_url: 'https://me:4711-secret@api.example'"):
            with pytest.raises(ConfigError) as caught:
                defined(tmp_path, service="models: {entries: {cheap: {" + entry + "}}}")
            assert "4711-secret" not in str(caught.value)
            assert "models.entries.cheap" in str(caught.value)

    def test_a_fallback_that_nobody_knows_is_told_with_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            defined(tmp_path, service=ENTRIES.replace("[strong, far]", "[strong, stong]"))
        (problem,) = caught.value.problems
        assert problem.where == f"{tmp_path / 'evaluator.yaml'}:5:32"
        assert problem.what == "models.entries.cheap.fallback: unknown model 'stong'; did you mean 'strong'?"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"entries": {"a": {"fallback": ["a"]}}},
            {"entries": {"a": {"fallback": ["b", "b"]}}},
            {"entries": {"a": {"price": {"input": 1, "output": 1}}}, "prices": {"a": {"input": 1, "output": 1}}},
        ],
    )
    def test_what_contradicts_itself_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=r"itself|twice"):
            ModelsConfig.model_validate(wrong)


class TestKeys:
    def test_a_key_comes_from_its_variable_or_its_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "key").write_text("sk-file\n")
        monkeypatch.setenv("A_KEY", "sk-plain")
        monkeypatch.setenv("B_KEY_FILE", str(tmp_path / "key"))
        assert [key_in(name) for name in ("A_KEY", "B_KEY", "B_KEY_FILE")] == ["sk-plain", "sk-file", "sk-file"]

    def test_what_is_no_key_is_refused_without_a_word_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A_KEY", "sk-4711\nX-Header: yes")
        monkeypatch.setenv("B_KEY_FILE", str(tmp_path / "none"))
        for variable, told in (("A_KEY", "line break"), ("B_KEY", "cannot be read")):
            with pytest.raises(ConfigError, match=told) as caught:
                key_in(variable)
            assert "4711" not in str(caught.value)
