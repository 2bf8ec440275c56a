"""A node's own figures over the last day, in memory. Pure: samples and times come in as arguments."""
