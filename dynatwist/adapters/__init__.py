"""Sessions and caches of web frameworks, kept in a cluster. Each module needs its framework, and nothing else does."""
