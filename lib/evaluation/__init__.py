"""Predictions of a model, and numbers from them."""
