"""The job engine: one mechanism that takes any asynchronous work to a settled state.

A job says what is wanted (``generation``); a command carries it; a worker claims, renews, and completes or fails it
under a fence; the reconciler redrives what counts as lost. The message is disposable, the job is not.
"""
