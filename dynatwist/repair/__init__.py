"""What keeps the owners of a key equal, whether or not anybody asks for it."""
