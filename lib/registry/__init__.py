"""Which model of a dataset is the champion, and by which evidence."""
