from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path as File
from types import ModuleType

import pytest

import rules
from rules import Rule, collect, passed
from rules.collect import GROUP, RESERVED
from tests.building import trace
from traces import Trace, Verdict

EXPECTED = set(collect())

TEAM = '''\
from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rules import Rule, TextRule, passed, failed
from traces import Path, Trace, Verdict


class Choice(Rule):
    """A base of the team's own, abstract."""

    mode: Literal["soft", "hard"] = "soft"


class PoliteClosing(Choice):
    """The answer ends politely."""

    words: tuple[str, ...] = Field(default=("thanks",), min_length=1)
    value: Path = Path.parse("$.root.output")

    def check(self, trace: Trace) -> Verdict:
        said = str(self.value.first(trace)).lower()
        return passed("polite") if any(word in said for word in self.words) else failed("curt")


ALIAS = PoliteClosing
'''


class Elsewhere(Rule):
    def check(self, trace: Trace) -> Verdict:
        return passed(trace.id)


Write = Callable[[str, str], File]


@pytest.fixture
def write(tmp_path: File) -> Write:
    def write_file(name: str, text: str) -> File:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write_file


def named(name: str, body: str = "") -> str:
    return (
        "from rules import Rule, passed\n\n"
        f"class {name}(Rule):\n    {body or 'pass'}\n    def check(self, trace):\n        return passed('x')\n"
    )


class TestOurs:
    def test_every_kind_is_found(self) -> None:
        ours = File(rules.__file__).parent
        texts = [file.read_text(encoding="utf-8") for file in ours.glob("*.py")]
        classes = {name for text in texts for name in re.findall(r'"rule": "(\w+)"', text)}
        assert {"not_empty", "json_valid", "max_cost", "repeated_tool_calls", "has_user_id", *classes} <= EXPECTED

    def test_what_is_only_a_base_is_no_kind(self) -> None:
        assert not {"rule", "text_rule", "phrase_rule", "json_rule", "number", "at_most", "listed_phrases"} & EXPECTED

    def test_kinds_come_sorted_and_cannot_be_changed(self) -> None:
        kinds = collect()
        assert list(kinds) == sorted(kinds)
        with pytest.raises(TypeError):
            kinds["mine"] = Rule  # type: ignore[index]  # what the test is about

    def test_names_and_kinds_agree(self) -> None:
        assert all(name == rule.kind for name, rule in collect().items())

    def test_collecting_again_finds_the_same_classes(self) -> None:
        assert collect() == collect()

    def test_exports_are_sorted_by_name_and_there(self) -> None:
        assert rules.__all__ == sorted(rules.__all__)
        assert all(hasattr(rules, name) for name in rules.__all__)


class TestOfATeam:
    def test_a_file_adds_its_kinds_and_nothing_it_imported_or_left_abstract(self, write: Write) -> None:
        folder = write("closing.py", TEAM).parent
        assert set(collect(folder)) - EXPECTED == {"polite_closing"}

    def test_a_kind_imported_from_elsewhere_is_not_the_files_own(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library = ModuleType("their_library")
        vars(library)["Elsewhere"] = Elsewhere
        monkeypatch.setitem(sys.modules, "their_library", library)
        folder = write("own.py", "from their_library import Elsewhere\n" + named("Mine")).parent
        assert set(collect(folder)) - EXPECTED == {"mine"}

    def test_a_kind_may_build_on_one_of_ours(self, write: Write) -> None:
        text = "from rules.text import Forbids\nclass NoSwearing(Forbids):\n    phrases: tuple[str, ...] = ('damn',)"
        kind = collect(write("own.py", text).parent)["no_swearing"]
        assert kind().check(trace(output="Damn!")).reason == "found 'damn' at character 0"

    def test_annotations_that_are_only_text_are_understood(self, write: Write) -> None:
        kind = collect(write("closing.py", TEAM).parent)["polite_closing"]
        rule = kind.model_validate({"mode": "hard", "value": "$.root.input", "words": ["please"]})
        assert rule.check(trace()).reason == "polite"

    def test_a_file_may_be_called_as_one_of_ours_or_of_the_standard_library(self, write: Write) -> None:
        folder = write("text.py", named("Mine")).parent
        write("json.py", named("Other"))
        assert {"mine", "other", "length"} <= set(collect(folder))
        assert "Mine" not in vars(sys.modules["rules.text"])

    def test_two_folders_may_have_files_of_one_name(self, write: Write) -> None:
        one, two = write("a/own.py", named("One")).parent, write("b/own.py", named("Two")).parent
        assert {"one", "two"} <= set(collect(one, two))

    def test_a_folder_is_not_put_on_the_import_path(self, write: Write) -> None:
        before = list(sys.path)
        collect(write("closing.py", TEAM).parent)
        assert sys.path == before

    def test_a_changed_file_is_read_anew(self, write: Write) -> None:
        folder = write("own.py", named("Before")).parent
        assert "before" in collect(folder)
        write("own.py", named("AfterAllThisTime"))
        assert "after_all_this_time" in collect(folder)
        assert "before" not in collect(folder)

    @pytest.mark.parametrize("name", ["_private.py", "test_own.py", "conftest.py", "notes.txt", "deeper/own.py"])
    def test_other_files_are_left_alone(self, write: Write, tmp_path: File, name: str) -> None:
        write(name, "raise SystemExit('imported')")
        assert set(collect(tmp_path)) == EXPECTED

    def test_an_empty_folder_adds_nothing(self, tmp_path: File) -> None:
        assert set(collect(tmp_path)) == EXPECTED


class TestProblems:
    def test_two_classes_of_one_kind_are_refused_naming_both_files(self, write: Write) -> None:
        one, two = write("a/one.py", named("Same")), write("b/two.py", named("Same"))
        with pytest.raises(ValueError, match="two rules are called 'same'") as caught:
            collect(one.parent, two.parent)
        assert f"Same in {one}" in str(caught.value)
        assert f"Same in {two}" in str(caught.value)

    def test_a_kind_of_ours_cannot_be_taken(self, write: Write) -> None:
        file = write("own.py", named("NotEmpty"))
        with pytest.raises(
            ValueError, match=r"two rules are called 'not_empty': NotEmpty in .*text\.py and NotEmpty in"
        ):
            collect(file.parent)

    def test_two_classes_of_one_kind_in_one_file_are_refused(self, write: Write) -> None:
        file = write("own.py", named("One", "kind = 'same'") + named("Two", "kind = 'same'"))
        with pytest.raises(ValueError, match=r"One in .* and Two in"):
            collect(file.parent)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("class", "SyntaxError"),
            ("import no_such_module_anywhere", "ModuleNotFoundError: No module named"),
            ("1 / 0", "ZeroDivisionError"),
            ("raise ValueError('a reason of its own')", "ValueError: a reason of its own"),
        ],
    )
    def test_a_file_that_cannot_be_imported_is_named(self, write: Write, text: str, why: str) -> None:
        file = write("broken.py", text)
        with pytest.raises(ValueError, match="cannot be imported") as caught:
            collect(file.parent)
        assert str(file) in str(caught.value)
        assert why in str(caught.value)

    def test_a_field_whose_type_does_not_exist_is_refused(self, write: Write) -> None:
        file = write("own.py", named("Mine", "limit: 'Nowhere' = 1"))
        with pytest.raises(ValueError, match=r"Mine in .*own\.py: a field's type cannot be understood: .*Nowhere"):
            collect(file.parent)

    def test_a_file_that_failed_leaves_no_module_behind(self, write: Write) -> None:
        before = set(sys.modules)
        file = write("broken.py", "1 / 0")
        with pytest.raises(ValueError, match="ZeroDivisionError"):
            collect(file.parent)
        assert set(sys.modules) == before

    def test_a_missing_folder_is_named(self, tmp_path: File) -> None:
        with pytest.raises(ValueError, match="nowhere is not a folder"):
            collect(tmp_path / "nowhere")

    @pytest.mark.parametrize("field", sorted(RESERVED))
    def test_fields_that_every_definition_has_are_refused(self, write: Write, field: str) -> None:
        file = write("own.py", named("Mine", f"{field}: str = 'x'"))
        with pytest.raises(ValueError, match=f"a field may not be called '{field}'"):
            collect(file.parent)

    def test_an_alias_that_every_definition_has_is_refused(self, write: Write) -> None:
        body = "title: str = __import__('pydantic').Field(default='x', alias='name')"
        with pytest.raises(ValueError, match="a field may not be called 'name'"):
            collect(write("own.py", named("Mine", body)).parent)

    @pytest.mark.parametrize("kind", ["Mine", "my-kind", "1st", "", "two words"])
    def test_a_kind_must_be_in_snake_case(self, write: Write, kind: str) -> None:
        file = write("own.py", "from typing import ClassVar\n" + named("Mine", f"kind: ClassVar[str] = {kind!r}"))
        with pytest.raises(ValueError, match="must be in snake case"):
            collect(file.parent)


@pytest.fixture
def install(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what makes a package as installed: its files, and what it offers."""

    def installed(package: str, offers: str, **files: str) -> None:
        for name, text in files.items():
            file = tmp_path / package / f"{name}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            monkeypatch.delitem(sys.modules, package if name == "__init__" else f"{package}.{name}", raising=False)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nthem = {offers}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return installed


class TestOfAPackage:
    def test_its_kinds_are_found_where_it_is_installed(self, install: Callable[..., None]) -> None:
        imports = "from acme_one.inner import Inner\nfrom rules.text import Length\n"
        install("acme_one", "acme_one", __init__=imports + named("Outer"), inner=named("Inner"))
        assert set(collect(installed=True)) - EXPECTED == {"outer", "inner"}
        assert set(collect()) == EXPECTED

    def test_a_module_of_it_may_be_named(self, install: Callable[..., None]) -> None:
        install("acme_two", "acme_two.inner", __init__="", inner=named("Inner"))
        assert set(collect(installed=True)) - EXPECTED == {"inner"}

    def test_a_conflict_names_both_places(self, install: Callable[..., None], write: Write) -> None:
        install("acme_three", "acme_three", __init__=named("Same"))
        folder = write("own/own.py", named("Same")).parent
        with pytest.raises(ValueError, match=r"two rules are called 'same': Same in .*acme_three.* and Same in .*own"):
            collect(folder, installed=True)

    def test_one_of_ours_cannot_be_taken(self, install: Callable[..., None]) -> None:
        install("acme_four", "acme_four", __init__=named("NotEmpty"))
        with pytest.raises(ValueError, match="two rules are called 'not_empty'"):
            collect(installed=True)

    @pytest.mark.parametrize(
        ("package", "text", "offers", "why"),
        [
            (
                "acme_five",
                "1 / 0",
                "acme_five",
                r"rules of acme_five \(acme_five\) cannot be imported: ZeroDiv",
            ),
            ("acme_six", "", "acme_six.nowhere", "cannot be imported: ModuleNotFoundError"),
            ("acme_seven", named("Mine"), "acme_seven:Mine", "entry point 'them' of acme_seven names no module"),
        ],
    )
    def test_what_cannot_be_imported_is_named(
        self, install: Callable[..., None], package: str, text: str, offers: str, why: str
    ) -> None:
        install(package, offers, __init__=text)
        with pytest.raises(ValueError, match=why):
            collect(installed=True)
