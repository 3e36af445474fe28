"""Scripts that build, deploy and rehearse the services."""
