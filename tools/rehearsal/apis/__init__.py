"""The APIs that gcloud asks, one module each; each has a Flask blueprint ``api``."""
