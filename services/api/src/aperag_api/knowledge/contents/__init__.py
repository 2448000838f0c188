"""The bytes of a document and what was made of them."""
