"""Loads that take minutes: `make stress` runs them, `make test` does not."""
