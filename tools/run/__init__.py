"""Run a version's services on this machine until told to stop: ``make run``."""
