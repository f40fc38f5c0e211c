"""The embedded scenarios: a pilot, one department, a whole company."""
