"""LLM-as-judge without IO: a rubric becomes prompts, replies become outcomes."""
