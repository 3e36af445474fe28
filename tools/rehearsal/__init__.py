"""Google Cloud on one machine: what the real gcloud asks for, answered by local stand-ins."""
