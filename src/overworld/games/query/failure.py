"""The one error of asking a game."""

from __future__ import annotations

from overworld.domain.errors import OverworldError


class QueryFailed(OverworldError):
    """No answer that can be believed: who plays is *unknown*, which is never the same as nobody."""

    slug = "query-failed"
    status = 503
    title = "The game did not answer"
