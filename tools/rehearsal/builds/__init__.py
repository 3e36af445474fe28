"""The worker of Cloud Build: takes a build and runs its steps on this machine."""
