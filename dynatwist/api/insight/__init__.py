"""What people are shown that look at a whole cluster: each node tells of itself, and asks all others."""
