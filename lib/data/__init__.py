"""From publishers' files to prepared rows. `datasets.py` is THE place to add a built-in dataset."""
