"""The page in a browser and the client that asks a backend."""
