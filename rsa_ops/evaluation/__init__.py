"""Score one trained cell: one row per example. No significance, no thresholds."""
