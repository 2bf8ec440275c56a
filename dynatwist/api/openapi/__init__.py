"""What the routes say of themselves, and the document (OpenAPI 3.1) that is made of that."""
