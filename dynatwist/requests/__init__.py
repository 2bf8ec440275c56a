"""What clients ask for, carried out across the owners of a key."""
