"""Collections: what there is, what is indexed in each, who may read it."""
