"""The ledger: what was decided, by which key, in which order, and what checks it. No mlflow, no torch."""
