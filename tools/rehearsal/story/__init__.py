"""What `make rehearse` does, step by step, and what it found."""
