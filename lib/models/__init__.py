"""What can be trained. `recipes.py` is THE place to add a model."""
