"""How ./x test runs and counts the suites."""
