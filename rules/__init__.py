"""Deterministic checks of a trace: one small class a kind."""
