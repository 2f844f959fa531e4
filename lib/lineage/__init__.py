"""What was made, of what, and how it is found, checked and cleaned up. `steps.py` is THE table of steps."""
