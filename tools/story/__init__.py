"""The parts of ./x demo."""
