"""Starts algad and its surroundings for end-to-end tests and for ./x demo. Standard library only."""
