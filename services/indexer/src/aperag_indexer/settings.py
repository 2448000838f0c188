"""Settings of the indexer: how much it does at once."""

from __future__ import annotations

import os
from datetime import timedelta

from pydantic import Field, PositiveInt

from aperag_common.settings import Block
from aperag_models.settings import CallingSettings


class SlotSettings(Block):
    """Messages of one kind that one indexer process works on at a time."""

    parse: PositiveInt = Field(8, description="documents parsed at a time")
    vector: PositiveInt = Field(8, description="vector indexes built at a time")
    fulltext: PositiveInt = Field(8, description="full-text indexes built at a time")
    remove: PositiveInt = Field(4, description="indexes or documents removed at a time")
    summarize: PositiveInt = Field(2, description="collections summarized at a time")


class PoolSettings(Block):
    """Processes for parsing and embedding; they start on demand and rest when idle. Owners share them, and one more
    process is for owners who have none while all others are busy.
    """

    workers: PositiveInt = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1), description="processes; default: one per core"
    )
    idle: timedelta = Field(timedelta(minutes=30), description="a process without work ends after this")


class ChunkSettings(Block):
    """How documents are cut; in tokens as ``aperag_retrieval.chunking`` counts them."""

    size: PositiveInt = Field(400, description="largest chunk, overlap included")
    overlap: int = Field(20, ge=0, description="what a chunk repeats of the one before")


class ParseSettings(Block):
    """Limits of reading a document."""

    timeout: timedelta = Field(timedelta(minutes=5), description="a document that takes longer is FAILED")
    cpu: timedelta = Field(
        timedelta(minutes=2),
        description="most computing time of one document; each page or picture whose text is recognised may take"
        " 10 seconds more",
    )
    pages: PositiveInt = Field(5_000, description="most pages or slides of one document")
    cells: PositiveInt = Field(2_000_000, description="most cells of the tables of one document")
    characters: PositiveInt = Field(20_000_000, description="most characters that are read from one document")
    unpacked: PositiveInt = Field(256 * 1024 * 1024, description="most bytes that a zipped document may unfold to")
    pixels: PositiveInt = Field(80_000_000, description="largest picture whose text is recognised")
    recognised_pages: PositiveInt = Field(80, description="most scanned pages of one document")
    memory: PositiveInt = Field(1024 * 1024 * 1024, description="most memory that reading one document may take")


class Settings(CallingSettings):
    slots: SlotSettings = Field(default_factory=SlotSettings)
    pool: PoolSettings = Field(default_factory=PoolSettings)
    chunks: ChunkSettings = Field(default_factory=ChunkSettings)
    parse: ParseSettings = Field(default_factory=ParseSettings)
