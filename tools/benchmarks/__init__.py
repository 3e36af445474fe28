"""Measure ours beside what a user would pick instead: ``python -m tools.benchmarks --help``."""
