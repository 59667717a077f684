"""Timing the evaluation path, side by side with the loop people write by hand."""
