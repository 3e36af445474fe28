"""What a rehearsal stands on: a Docker daemon, a registry, a Python image, gcloud's environment."""
