"""`make eval`: the table; on the real model where GROQ_API_KEY or GROQ_BASE_URL is set."""

import asyncio
import sys

from app.config import Settings
from evals.generated import queries
from evals.players import Player
from evals.scorer import THRESHOLDS, cases, invented, play, score, table

_GENERATED = 500


async def main() -> int:
    """0 when the thresholds are met."""
    player = Player(Settings())
    with_model = player.model.enabled
    print(f"engine: {'model, ' + Settings().model_name if with_model else 'offline'}")  # noqa: T201
    verdicts = await play(player.ask, cases(), player.catalogue, player.languages)
    found = score(verdicts)
    print(table(verdicts))  # noqa: T201
    made_up = 0
    if not with_model:  # five hundred questions to a paid model are not asked by the way
        for query in queries(_GENERATED):
            reply = await player.ask({"kind": "suggest", "text": query})
            made_up += invented(reply.text, reply.products, player.catalogue, query)
        print(f"{_GENERATED} generated queries: {made_up} with something invented")  # noqa: T201
    by_model = sum(verdict.reply.source != "offline" for verdict in verdicts)
    print(  # noqa: T201
        f"passed {found.passed:.0%}, hits {found.hits:.0%}, invented {found.invented}"
        f" (thresholds: {THRESHOLDS}); answered by the model: {by_model}"
    )
    await player.model.close()
    return 0 if found.enough and made_up == 0 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
