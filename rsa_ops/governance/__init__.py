"""The ledger: what was decided, by which key, in which order; and what checks it. It knows no mlflow and no torch."""
