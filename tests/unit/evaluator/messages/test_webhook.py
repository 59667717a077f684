"""The signature of webhooks."""

from __future__ import annotations

import base64

import pytest

from evaluator.messages.webhook import signature


@pytest.mark.parametrize(
    ("secret", "name", "stamp", "body", "signed"),
    [
        (
            "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            b'{"email":"test@example.com","username":"test_user"}',
            "tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            b'{"test": 2432232314}',
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ],
)
def test_the_signature_is_that_of_standard_webhooks(
    secret: str, name: str, stamp: str, body: bytes, signed: str
) -> None:
    # The two vectors that the libraries of Standard Webhooks are tested with.
    assert signature(base64.b64decode(secret), name, stamp, body) == signed
