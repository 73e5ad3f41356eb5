"""Request and response models of the API."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.product import Product
from chassis.field_types import MultilineText, Text, VisibleMultilineText

SOURCE = "name of the model that answered, or `offline`"


Message = Annotated[VisibleMultilineText, Field(min_length=1, max_length=2_000)]
Query = Annotated[
    VisibleMultilineText,
    Field(min_length=1, max_length=500, examples=["a gift under 50"]),
]
ProductName = Annotated[Text, Field(min_length=1, max_length=200)]
Category = Annotated[Text, Field(min_length=1, max_length=100)]

_CHAT: dict[str, Any] = {
    "message": "and something for the desk, under 60?",
    "history": [
        {"role": "user", "content": "I need a gift for a writer"},
        {"role": "assistant", "content": "I found these: Fountain Pen Swift (58.00)."},
    ],
}


class Turn(BaseModel):
    """An earlier message of the conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["user", "assistant"]
    content: Annotated[MultilineText, Field(max_length=8_000)]


class ChatIn(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _CHAT})

    message: Message
    history: Annotated[
        list[Turn] | None,
        Field(
            max_length=100,
            fail_fast=True,
            description="oldest first; only the last turns are used",
        ),
    ] = None


class ChatOut(BaseModel):
    """An answer. `products` contains every product that `reply` names."""

    reply: str
    source: Annotated[str, Field(description=SOURCE, examples=["offline"])]
    products: list[Product]


class SuggestIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: Query


class SuggestOut(BaseModel):
    """Matching products, best first, and a sentence about them in `result`."""

    result: str
    products: list[Product]
    source: Annotated[str, Field(description=SOURCE, examples=["offline"])]


class RecommendationsOut(BaseModel):
    recommendations: list[Product]
    source: Annotated[str, Field(description=SOURCE, examples=["offline"])]
