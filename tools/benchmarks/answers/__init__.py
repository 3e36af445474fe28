"""From what was measured to the tables and figures in the project's texts."""
