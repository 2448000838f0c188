"""Embeddings and reranking for clients that want the models themselves."""
