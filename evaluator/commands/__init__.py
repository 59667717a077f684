"""The commands of `evaluator`, a module for each that is longer than a few lines; cli.py puts them together.

A command reads its arguments, opens the application, calls one thing and prints what came of it. All import what they
need when they run: help answers at once.
"""
