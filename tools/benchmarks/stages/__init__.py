"""The stages of a prediction, timed one by one in a process of their own."""
