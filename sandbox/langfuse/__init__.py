"""A stand-in for Langfuse: its v4 public API over in-memory tables, with the traps of the real one."""

from sandbox.langfuse.behaviour import Behaviour
from sandbox.langfuse.scores import ScoreConfig
from sandbox.langfuse.stand_in import PUBLIC_KEY, SECRET_KEY, LangfuseStandIn

__all__ = ["PUBLIC_KEY", "SECRET_KEY", "Behaviour", "LangfuseStandIn", "ScoreConfig"]
