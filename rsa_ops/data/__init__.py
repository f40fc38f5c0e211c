"""Load, fingerprint, split, validate (Great Expectations). No models.

`config` is cheap to import; pandas, great_expectations, datasets and datasketch are imported where they are used.
"""
