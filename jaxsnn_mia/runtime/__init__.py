"""What a process does: stops, tells, measures, takes part in a job of several."""
