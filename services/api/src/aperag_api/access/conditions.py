"""Access as conditions of SQL, for the statements that find, list or lock what is guarded; pure."""

from __future__ import annotations

PUBLISHED = """
    collection_sharing s JOIN collection c ON c.id = s.collection_id AND c.status <> 'DELETED'
        JOIN users u ON u.id = c.owner AND u.is_active
"""
"""Published collections: those of a deleted user vanish with their login, before any purge."""

PUBLISHED_THERE = """
    EXISTS (SELECT FROM collection_sharing sharing
            JOIN collection shared ON shared.id = sharing.collection_id AND shared.status <> 'DELETED'
            JOIN users sharer ON sharer.id = shared.owner AND sharer.is_active
            WHERE sharing.collection_id = {collection})
"""
"""That everybody may read what is in a collection; to be formatted with an expression."""

SUBSCRIBED = """
    EXISTS (SELECT FROM collection_subscription sub
            JOIN collection shared ON shared.id = sub.collection_id AND shared.status <> 'DELETED'
            JOIN users sharer ON sharer.id = shared.owner AND sharer.is_active
            WHERE sub.collection_id = {collection} AND sub.user_id = {user})
"""
"""That a user may read what is in a collection as its subscriber; to be formatted with two expressions.

No subscription outlives the sharing that it is of: the schema sees to that.
"""

REACHED = "(CAST(:reach AS text[]) IS NULL OR {collection} = ANY(CAST(:reach AS text[])))"
"""That a caller's key reaches a collection, with ``Caller.reach``; to be formatted with an expression."""
