"""The settings of a node: what they are, what texts they are read from, and where these are found."""
