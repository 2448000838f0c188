"""Driven rows: one mechanism that takes any asynchronous work to a settled state.

A row says what is wanted (``generation``); a command carries it; a worker claims, beats, finishes or fails it
under a fence; the reconciler re-drives what counts as lost. The message is disposable, the row is not.
"""
