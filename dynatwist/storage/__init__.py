"""What a node keeps: sealed files, write-ahead log, cold saves, recovery, and the store above them."""
