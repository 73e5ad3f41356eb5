"""Run the evaluation set (`make eval`), with a model if GROQ_API_KEY or GROQ_BASE_URL is set."""

import asyncio
import sys

from app.config import Settings
from evals.generated import queries
from evals.players import Player
from evals.scorer import THRESHOLDS, cases, invented, play, score, table

_GENERATED = 500


async def main() -> int:
    """Print the results. Return 0 if the thresholds are met."""
    player = Player(Settings())
    with_model = player.model.enabled
    print(f"engine: {'model, ' + Settings().model_name if with_model else 'offline'}")  # noqa: T201
    results = await play(player.ask, cases(), player.catalogue, player.languages)
    found = score(results)
    print(table(results))  # noqa: T201
    invented_count = 0
    if not with_model:  # five hundred questions to a paid model would cost too much
        for query in queries(_GENERATED):
            reply = await player.ask({"kind": "suggest", "text": query})
            invented_count += invented(reply.text, reply.products, player.catalogue, query)
        print(f"{_GENERATED} generated queries: {invented_count} with invented products or prices")  # noqa: T201
    by_model = sum(result.reply.source != "offline" for result in results)
    print(  # noqa: T201
        f"passed {found.passed:.0%}, hits {found.hits:.0%}, invented {found.invented}"
        f" (thresholds: {THRESHOLDS}); answered by the model: {by_model}"
    )
    await player.model.close()
    return 0 if found.enough and invented_count == 0 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
