"""The broker on a real server: what is lost with a connection, what stays in hand, and who takes work over when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import BrokerConnectionError, ConnectionClosed

from evaluator.broker import Away, Broker, PatientRetries, PromptStop
from evaluator.errors import Unavailable
from evaluator.state.connection import reachable

QUEUE = "evaluate"


def opened(url: str, **options: Any) -> Broker:
    broker = Broker(url=url, namespace="test:queue", middleware=[], **options)
    broker.declare_queue(QUEUE)
    return broker


@pytest.fixture
def broker(valkey: redis.Redis, valkey_url: str) -> Iterator[Broker]:
    made = opened(valkey_url)
    yield made
    made.client.connection_pool.disconnect()


def put(broker: Broker, *numbers: int, delay: int | None = None) -> None:
    for number in numbers:
        message: dramatiq.Message[None] = dramatiq.Message(QUEUE, "act", (number,), {}, {})
        broker.enqueue(message, delay=delay)


def taken(consumer: dramatiq.Consumer, looks: int = 20) -> list[int]:
    found = (next(consumer) for _ in range(looks))
    return [message.args[0] for message in found if message is not None]


def fetch_unheard(broker: Broker, queue: str, number: int) -> None:
    """Fetch as the broker does, and lose the answer."""
    RedisBroker._dispatch(broker, "fetch")(queue, number)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("delay", [None, 60_000])
def test_what_was_fetched_and_never_arrived_is_taken_up_again(broker: Broker, delay: int | None) -> None:
    queue = QUEUE if delay is None else f"{QUEUE}.DQ"
    put(broker, 1, 2, 3, delay=delay)
    fetch_unheard(broker, queue, 2)
    assert sorted(taken(broker.consume(queue, prefetch=10, timeout=1))) == [1, 2, 3]


def test_what_is_in_hand_is_not_handed_out_again(broker: Broker) -> None:
    put(broker, 1, 2)
    consumer = broker.consume(QUEUE, prefetch=2, timeout=1)
    first, second = next(consumer), next(consumer)
    assert first is not None
    assert second is not None
    consumer.ack(first)
    put(broker, 3)
    again = broker.consume(QUEUE, prefetch=10, timeout=1)
    assert taken(again) == [3]
    again.ack(second)
    assert broker.client.hlen(f"test:queue:{QUEUE}.msgs") == 1


def test_delayed_messages_are_in_nobodys_hand_after_a_broken_connection(broker: Broker) -> None:
    put(broker, 1, 2, delay=60_000)
    delayed = f"{QUEUE}.DQ"
    assert taken(broker.consume(delayed, prefetch=10, timeout=1)) == [1, 2]
    assert sorted(taken(broker.consume(delayed, prefetch=10, timeout=1))) == [1, 2]


def test_a_server_that_takes_nothing_is_away_in_dramatiqs_eyes_and_ours(broker: Broker, valkey: redis.Redis) -> None:
    put(broker, 1)
    consumer = broker.consume(QUEUE, prefetch=1, timeout=1)
    message = next(consumer)
    assert message is not None
    valkey.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(BrokerConnectionError):
            consumer.ack(message)
        with pytest.raises(ConnectionClosed):
            next(broker.consume(QUEUE, prefetch=1, timeout=1))
        with pytest.raises(Away):
            put(broker, 2)
        with pytest.raises(Unavailable), reachable():
            put(broker, 2)
    finally:
        valkey.config_set("min-replicas-to-write", 0)
    consumer.ack(message)
    assert broker.client.hlen(f"test:queue:{QUEUE}.msgs") == 0


def test_a_mistake_of_ours_is_no_server_that_is_away(broker: Broker, valkey: redis.Redis) -> None:
    valkey.set(f"test:queue:{QUEUE}", "in the way")
    with pytest.raises(redis.ResponseError):
        put(broker, 1)


def test_who_comes_back_first_takes_nothing_from_those_who_could_not_be_heard(
    broker: Broker, valkey: redis.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("evaluator.broker.time.monotonic", lambda: now[0])
    put(broker, 1)
    assert taken(broker.consume(QUEUE, prefetch=1, timeout=1)) == [1]
    valkey.zadd("test:queue:__heartbeats__", {broker.broker_id: 0})
    other = opened(valkey_url, heartbeat_timeout=20_000)
    consumer = other.consume(QUEUE, prefetch=1, timeout=1)
    assert taken(consumer) == []
    now[0] += 21
    assert taken(consumer) == [1]
    other.client.close()


def test_a_long_time_away_ends_for_a_consumer_when_it_is_back(
    broker: Broker, valkey: redis.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis is away a consumer fails as it begins, and asks for nothing: its time must count all the same."""
    now = [1000.0]
    monkeypatch.setattr("evaluator.broker.time.monotonic", lambda: now[0])
    put(broker, 1)
    assert taken(broker.consume(QUEUE, prefetch=1, timeout=1)) == [1]
    other = opened(valkey_url, heartbeat_timeout=20_000)
    for _ in range(3):
        now[0] += 19
        with monkeypatch.context() as away:
            away.setattr(redis.Redis, "smembers", Mock(side_effect=redis.ConnectionError()))
            with pytest.raises(Away):
                other.consume(QUEUE, prefetch=1, timeout=1)
    valkey.zadd("test:queue:__heartbeats__", {broker.broker_id: 0})
    consumer = other.consume(QUEUE, prefetch=1, timeout=1)
    assert taken(consumer) == []
    now[0] += 21
    assert taken(consumer) == [1]
    other.client.connection_pool.disconnect()


def test_a_retry_waits_for_a_server_that_takes_nothing(broker: Broker, valkey: redis.Redis) -> None:
    """A message whose actor raised while Redis was away would be acknowledged, its retry never enqueued."""
    broker.add_middleware(PatientRetries(min_backoff=10, max_backoff=10))
    done = threading.Event()

    def act(number: int) -> None:
        if number == 1 and not done.is_set():
            valkey.config_set("min-replicas-to-write", 1)
            threading.Timer(1.5, valkey.config_set, ("min-replicas-to-write", 0)).start()
            done.set()
            raise RuntimeError
        finished.set()

    finished = threading.Event()
    dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act")(act)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    put(broker, 1)
    worker.start()
    try:
        assert finished.wait(20)
    finally:
        valkey.config_set("min-replicas-to-write", 0)
        worker.stop()


def test_a_worker_with_nothing_in_hand_stops_at_once_and_one_with_work_when_it_is_done(
    broker: Broker, valkey: redis.Redis
) -> None:
    begun, done = threading.Semaphore(0), threading.Event()

    def act(_: int) -> None:
        begun.release()
        done.wait(20)

    broker.add_middleware(PromptStop())
    dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act")(act)
    worker = dramatiq.Worker(broker, worker_threads=3, worker_timeout=3_600_000)
    for has_work in (False, True):
        worker.start()
        if has_work:
            put(broker, 1, 2, 3, 4)
            assert all(begun.acquire(timeout=20) for _ in range(3))
            threading.Timer(0.2, done.set).start()
        stopping = threading.Thread(target=worker.stop, daemon=True)
        stopping.start()
        stopping.join(20)
        assert not stopping.is_alive()
        worker = dramatiq.Worker(broker, worker_threads=3, worker_timeout=3_600_000)
    assert done.is_set()
    assert valkey.llen(f"test:queue:{QUEUE}") == 1


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", Unavailable),
        ("Command # 1 (HSET a b c) of pipeline caused error: MISCONF Errors writing", Unavailable),
        ("NOREPLICAS Not enough good replicas to write.", Unavailable),
        ("ERR wrong number of arguments for MISCONF", redis.ResponseError),
    ],
)
def test_what_is_waited_for_is_told_by_its_first_word(said: str, kind: type[Exception]) -> None:
    with pytest.raises(kind), reachable():
        raise redis.ResponseError(said)
