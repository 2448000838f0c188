"""The installation, for administrators: who may come in, which models there are, settings, who changed what."""
