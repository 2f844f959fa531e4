"""What a run is asked to do, how much of it is done, and what would run and why."""
