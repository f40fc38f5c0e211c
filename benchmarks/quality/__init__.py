"""Parts of `tuner_quality.py`: tasks, methods and trials as data; training, workers and tables as functions."""
