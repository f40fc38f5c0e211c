"""The data checks: pure functions from splits to outcomes, and their Great Expectations form."""
