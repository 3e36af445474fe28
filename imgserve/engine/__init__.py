"""Run one classifier: from a decoded picture to a probability for each class."""
