"""What other stores tell of their records, made into rows of this one. No I/O: bytes come in, rows go out."""
