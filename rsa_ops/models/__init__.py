"""Base models and trained artifacts: find them, name them by digest, load them. No training, no scoring."""
