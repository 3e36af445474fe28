"""The same work as a server's without a server: the most that this engine can do here."""
