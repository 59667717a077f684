"""Timing the evaluation path, side by side with what people use today for the same work."""
