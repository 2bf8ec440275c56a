"""The faults of the simulated world that can be had on real processes, under load, for as long as wanted; by hand."""
