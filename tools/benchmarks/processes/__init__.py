"""Processes of the benchmark: bounded in time, in groups of their own, measured, always stopped."""
