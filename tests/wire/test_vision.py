"""Images and files of traces on their way to a judge: what Langfuse keeps is shown, what cannot be shown is told."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest

from evaluator.app import App
from evaluator.errors import Unavailable
from evaluator.langfuse.media import LARGEST
from evaluator.service import sweep
from judges import Attachment
from sandbox.server import Sandbox
from tests.answering import Answering, says
from tests.serving import Config, OpenService, Traffic

PNG: Final = b"\x89PNG\r\n\x1a\n" + b"pixels" * 20
PDF: Final = b"%PDF-1.7 page"
RUBRIC: Final = """
name: seen
sample: [{rate: 1}]
vision: true
inputs: {question: $.root.input, answer: $.root.output}
criteria: Does the answer say what the picture shows?
score: {type: numeric, min: 1, max: 5}
"""


@pytest.fixture
def app(service: OpenService) -> Iterator[App]:
    with service() as opened:
        yield opened


def read(app: App, media_id: str) -> Attachment:
    return app.langfuse._loop.call(app.langfuse.attachment(media_id))


class TestStore:
    @pytest.mark.parametrize(("content", "kind"), [(PNG, "image/png"), (PDF, "application/pdf")])
    def test_what_langfuse_keeps_is_read(self, app: App, sandbox: Sandbox, content: bytes, kind: str) -> None:
        sandbox.langfuse.media.add("m1", content, kind)
        assert read(app, "m1") == Attachment("m1", kind, base64.b64encode(content).decode())

    def test_it_is_read_once(self, app: App, sandbox: Sandbox) -> None:
        sandbox.langfuse.media.add("m1", PNG, "image/png")
        assert read(app, "m1") == read(app, "m1")
        assert sandbox.langfuse.counts()["requests"]["GET /storage/media/{id}"] == {"200": 1}

    @pytest.mark.parametrize(
        ("stored", "why"),
        [
            ({"content": PNG, "content_type": "image/svg+xml"}, "image/svg+xml cannot be shown"),
            ({"content": PNG, "content_type": "audio/wav"}, "audio/wav cannot be shown"),
            ({"content": b"<html>", "content_type": "image/png"}, "it is no image/png"),
            ({"content": b"RIFF0000WAVE", "content_type": "image/webp"}, "it is no image/webp"),
            (
                {"content": PNG, "content_type": "image/png", "said_length": 9},
                "it has another length than Langfuse tells",
            ),
            ({"content": PNG, "content_type": "image/png", "said_length": LARGEST + 1}, "it has more than 5 MB"),
            ({"content": PNG + bytes(LARGEST), "content_type": "image/png", "said_length": 9}, "it has more than 5 MB"),
            ({"content": PNG, "content_type": "image/png", "status": 404}, "the storage of Langfuse answered 404"),
            ({"content": PNG, "content_type": "image/png", "stale": 5}, "the storage of Langfuse answered 403"),
        ],
    )
    def test_what_cannot_be_shown_says_why(self, app: App, sandbox: Sandbox, stored: dict[str, Any], why: str) -> None:
        sandbox.langfuse.media.add("m1", **stored)
        assert read(app, "m1") == Attachment("m1", missing=why)

    def test_what_langfuse_does_not_have_is_missing(self, app: App) -> None:
        assert read(app, "nobody") == Attachment("nobody", missing="Langfuse does not have it")

    def test_an_address_that_has_expired_is_asked_for_again(self, app: App, sandbox: Sandbox) -> None:
        sandbox.langfuse.media.add("m1", PNG, "image/png", stale=1)
        assert read(app, "m1").missing == ""

    def test_a_redirect_is_not_followed(self, app: App, sandbox: Sandbox) -> None:
        with Answering() as elsewhere:
            sandbox.langfuse.media.add("m1", PNG, "image/png", redirect=f"{elsewhere.url}/models")
            assert read(app, "m1").missing == "the storage of Langfuse answered 302"
            assert elsewhere.keys == {}

    def test_a_storage_that_is_down_is_waited_for(self, app: App, sandbox: Sandbox) -> None:
        sandbox.langfuse.media.add("m1", PNG, "image/png", status=503)
        with pytest.raises(Unavailable, match="the storage of Langfuse answered 503"):
            read(app, "m1")


class TestJudging:
    def judged(self, sandbox: Sandbox, service: OpenService, config: Config, **urls: Any) -> dict[str, Any]:
        config(rules="[]", rubrics={"seen": RUBRIC})
        with service(**urls) as app:
            sweep(app, timedelta(hours=1), drain=True, threads=2)
        (score,) = sandbox.langfuse.all_scores()
        return score

    def test_a_judge_sees_what_the_trace_refers_to(
        self, sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
    ) -> None:
        image = sandbox.langfuse.media.add("m1", PNG, "image/png")
        paper = sandbox.langfuse.media.add("m2", PDF, "application/pdf")
        gone = "@@@langfuseMedia:type=image/png|id=gone|source=bytes@@@"
        traffic.add(1, input=f"What is this? {image} {paper} {gone}", output="A cat.")
        with Answering() as model:
            metadata = self.judged(sandbox, service, config, openai_base_url=model.url)["metadata"]
            (request,) = model.requests
        content = request["messages"][1]["content"]
        assert "[media: image/png, id m1]" in content[0]["text"]
        assert content[1:] == [
            {"type": "text", "text": "Media m1, part of the material to be judged:"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}},
            {"type": "text", "text": "Media m2, part of the material to be judged:"},
            {
                "type": "file",
                "file": {
                    "filename": "m2.pdf",
                    "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}",
                },
            },
            {"type": "text", "text": "Media gone, could not be shown: Langfuse does not have it"},
        ]
        assert metadata["media_shown"] == 2
        assert metadata["media_missing"] == {"gone": "Langfuse does not have it"}

    def test_it_is_shown_again_when_the_answer_is_repaired(
        self, sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
    ) -> None:
        traffic.add(1, input=sandbox.langfuse.media.add("m1", PNG, "image/png"))
        with Answering() as model:
            model.script = [says("about four")]
            metadata = self.judged(sandbox, service, config, openai_base_url=model.url)["metadata"]
        assert [request["messages"][1]["content"][2]["type"] for request in model.requests] == ["image_url"] * 2
        assert metadata["media_shown"] == 1

    def test_content_never_reaches_the_logs(
        self,
        sandbox: Sandbox,
        service: OpenService,
        config: Config,
        traffic: Traffic,
        capsys: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        traffic.add(1, input=sandbox.langfuse.media.add("m1", PNG, "image/png"))
        self.judged(sandbox, service, config)
        told = capsys.readouterr().out + caplog.text
        assert base64.b64encode(PNG).decode()[:20] not in told
        assert "X-Amz-Signature" not in told
