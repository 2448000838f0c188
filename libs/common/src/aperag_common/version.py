"""The version of ApeRAG, written once: the wheel, the services and what they tell others take it from here."""

VERSION = "0.1.0"
