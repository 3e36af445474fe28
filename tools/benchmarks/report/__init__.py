"""From the results to one page."""
