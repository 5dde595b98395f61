"""Sweeps on recorded learning curves: what a sampler and a scheduler save and what they lose, in seconds."""
