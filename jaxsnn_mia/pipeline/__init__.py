"""From a config to a report: one file for each stage."""
