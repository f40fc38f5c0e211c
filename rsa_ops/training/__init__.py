"""Train one cell of the grid on transformers.Trainer, and measure what it took. No tracker, no scoring."""
