"""The pytest plugin: tests that run under limits."""
