"""Replication's decisions: quorums, agreement, hints, anti-entropy, collection. Pure, like the model."""
