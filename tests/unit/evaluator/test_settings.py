from pathlib import Path

import pytest

from evaluator.errors import ConfigError
from evaluator.settings import load_settings, variables


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in variables():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.delenv("LANGFUSE_HOST", raising=False)


def test_every_variable_is_described() -> None:
    assert all(description for _, _, description in variables())


def test_nothing_set_names_what_is_missing() -> None:
    assert [problem.where for problem in load_settings().missing()] == ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"]


def test_the_older_name_of_the_address_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_HOST", "http://langfuse:3000")
    assert load_settings().langfuse_base_url == "http://langfuse:3000"
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://new:3000")
    assert load_settings().langfuse_base_url == "http://new:3000"


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-planted\n")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY_FILE", str(secret))
    settings = load_settings()
    assert settings.langfuse_secret_key.get_secret_value() == "sk-planted"
    assert "sk-planted" not in repr(settings)


def test_the_variable_itself_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from file")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("OPENAI_API_KEY", "from variable")
    assert load_settings().openai_api_key.get_secret_value() == "from variable"


def test_a_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL_FILE", "/nowhere/at/all")
    with pytest.raises(ConfigError, match="REDIS_URL_FILE: cannot be read"):
        load_settings()


def test_a_wrong_value_is_told_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_GRACE", "sk-planted")
    with pytest.raises(ConfigError, match="EVALUATOR_GRACE") as caught:
        load_settings()
    assert "sk-planted" not in str(caught.value)
