"""Reported inputs: questions to the assistant in plain language, answered without a model."""

from tests.inputs.matching import Between, Contains, Each
from tests.inputs.steps import AI, Case, Request, Seeded


def model_questions(question: str, products: object) -> Request:
    """Return the question, answered by these products."""
    return Request(
        "POST",
        "/api/ai/suggest",
        200,
        {"query": question},
        at=AI,
        answer={"products": products},
        within=40.0,  # ai-service reads the catalogue that was just seeded
    )


ROWS = [
    Case(
        "S1",
        "a question for two products",
        [
            Seeded(),
            model_questions(
                "a lamp and headphones",
                (
                    Contains({"name": Contains("Lamp")}),
                    Contains({"name": Contains("Headphones")}),
                ),
            ),
        ],
    ),
    Case(
        "S2",
        "a price range that begins with 'for'",
        [
            Seeded(),
            model_questions("something for 20 to 25", Each({"price": Between(20, 25)})),
            model_questions("something between 20 and 25", Each({"price": Between(20, 25)})),
        ],
    ),
]
