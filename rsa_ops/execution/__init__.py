"""`cached_map` over cells in local processes. Nothing of machine learning, nothing of MLflow."""
