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


@pytest.mark.parametrize("name", ["LANGFUSE_BASE_URL", "SLACK_API_URL"])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("cloud.langfuse.com", "is no address"),
        ("ftp://planted", "is no address"),
        ("https://", "is no address"),
        ("https://[::1", "is no address"),
        ("https://host:planted", "is no address"),
        ("https://admin:planted@host", "user name or password"),
    ],
)
def test_an_address_is_one_and_holds_no_password(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str, told: str
) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(ConfigError, match=f"^{name}: .*{told}") as caught:
        load_settings()
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("name", ["LANGFUSE_SECRET_KEY", "OPENAI_API_KEY", "SLACK_BOT_TOKEN", "REDIS_URL"])
def test_a_key_that_would_break_a_header_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "key").write_text("sk-planted\r\nX-Admin: 1\n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match=f"^{name}: holds a line break") as caught:
        load_settings()
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("content", [b"sk-planted\xff", b"planted " * 10_000])
def test_a_file_that_holds_no_key_is_told_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY_FILE: cannot be read: .*no short text") as caught:
        load_settings()
    assert "planted" not in str(caught.value)


def test_a_file_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "/dev/zero")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY_FILE: cannot be read"):
        load_settings()


def test_every_secret_is_known_in_each_form_it_travels_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-1")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-2")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-3")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T/B/4")
    monkeypatch.setenv("REDIS_URL", "rediss://user:p%40ss@host:6380/0")
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "https://alerts.example.com/in/5")
    monkeypatch.setenv("ALERT_WEBHOOK_SECRET", "whsec_6")
    monkeypatch.setenv("SMTP_URL", "smtps://mailer:p%2F7@smtp.example.com")
    assert set(load_settings().secrets()) == {
        "sk-lf-1",
        "cGstMTpzay1sZi0x",
        "sk-2",
        "xoxb-3",
        "https://hooks.slack.com/services/T/B/4",
        "services/T/B/4",
        "rediss://user:p%40ss@host:6380/0",
        "p%40ss",
        "p@ss",
        "https://alerts.example.com/in/5",
        "in/5",
        "whsec_6",
        "smtps://mailer:p%2F7@smtp.example.com",
        "p%2F7",
        "p/7",
    }
    assert load_settings().secrets()


def test_nothing_set_has_no_secrets() -> None:
    assert load_settings().secrets() == ("Og==",)


@pytest.mark.parametrize(
    "wrong", ["alerts.example.com/planted", "ftp://alerts.example.com/planted", "https:///planted"]
)
def test_a_wrong_address_of_a_webhook_is_told_and_not_shown(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", wrong)
    with pytest.raises(ConfigError, match="ALERT_WEBHOOK_URL: is no address such as") as raised:
        load_settings()
    assert "planted" not in str(raised.value)
