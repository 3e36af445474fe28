"""From a picture's bytes to the classes on it, in this process or in others."""
