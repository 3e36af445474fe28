"""The parts of the benchmark; each returns a record of what it found."""
