"""Commands, configs, the study and the benchmarks; run from the root of a checkout, never installed."""
