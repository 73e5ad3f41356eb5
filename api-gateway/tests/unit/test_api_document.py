"""Merging of OpenAPI documents: only operations of the role table, all references valid."""

import json
import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

from app.api_document import merged_document
from app.policy import Access, Operation
from app.service_document import ServiceDocument, read_document
from chassis.problems import PROBLEM_SCHEMA, install_problem_handlers, problem_responses
from tests.unit.documents import (
    LIST,
    ORDERS,
    PLACE,
    PRODUCTS,
    TABLE,
    a_document,
    an_operation,
    reference,
)

ISSUER = "http://localhost:8081/realms/microservices"


def merge(documents: dict[str, bytes | None]) -> dict[str, Any]:
    """Merge and validate documents; None stands for an unavailable service."""
    read: dict[str, ServiceDocument | None] = {
        service: read_document(content, [o for o in TABLE if o.upstream == service])
        if content is not None
        else None
        for service, content in documents.items()
    }
    document = merged_document(read, TABLE, ISSUER)
    OpenAPIV31SpecValidator(document).validate()
    return document


def products(
    schema: Any = True, schemas: dict[str, Any] | None = None, **more: Any
) -> dict[str, bytes | None]:
    operations = {("GET", "/api/products"): an_operation(schema, **more)}
    return {PRODUCTS: a_document(operations, schemas, about="The catalogue")}


def orders(
    schema: Any = True, schemas: dict[str, Any] | None = None, **more: Any
) -> dict[str, bytes | None]:
    return {ORDERS: a_document({("POST", "/api/orders"): an_operation(schema, **more)}, schemas)}


def schema_of(document: dict[str, Any], operation: Operation) -> Any:
    found = document["paths"][operation.path][operation.method.lower()]
    return found["responses"]["200"]["content"]["application/json"]["schema"]


def test_each_service_is_a_tag_with_its_description() -> None:
    document = merge(products(tags=["things"]) | orders())
    assert document["tags"] == [
        {"name": PRODUCTS, "description": "The catalogue"},
        {"name": ORDERS, "description": ""},
    ]
    assert document["paths"]["/api/products"]["get"]["tags"] == [PRODUCTS]


def test_operation_documents_its_role_and_requires_a_token_unless_public() -> None:
    document = merge(products(description="All of them.") | orders())
    listing, placing = document["paths"]["/api/products"]["get"], document["paths"]["/api/orders"]
    assert listing["description"] == "**For anyone.**\n\nAll of them."
    assert listing["security"] == []
    assert placing["post"]["description"] == f"**For {Access.CUSTOMER.value}.**"
    assert {name for way in placing["post"]["security"] for name in way} == {"login", "bearer"}


def test_responses_of_gateway_and_service_are_merged() -> None:
    own = an_operation()["responses"] | {"503": {"description": "Closed on Sundays"}}
    document = merge(products() | orders(responses=own))
    listing = document["paths"]["/api/products"]["get"]["responses"]
    placing = document["paths"]["/api/orders"]["post"]["responses"]
    assert list(listing) == ["200", "401", "429", "502", "503", "504"]
    assert list(placing) == ["200", "401", "403", "429", "502", "503", "504"]
    assert placing["503"] == {"description": "Closed on Sundays"}
    content = listing["401"]["content"]
    assert content["application/problem+json"]["schema"] == reference("Problem")
    assert document["components"]["schemas"]["Problem"] == PROBLEM_SCHEMA


def test_equal_schemas_keep_their_name() -> None:
    schemas = {"Item": {"properties": {"of": reference("Unit")}}, "Unit": {"type": "string"}}
    one, other = reference("Item"), reference("Item")
    document = merge(products(one, schemas) | orders(other, schemas))
    assert document["components"]["schemas"].keys() == {"Item", "Unit", "Problem"}
    assert schema_of(document, LIST) == schema_of(document, PLACE) == reference("Item")


def test_different_schemas_and_their_referrers_are_named_by_service() -> None:
    """Both schemas named Page are equal texts that refer to different Items."""
    page = {"items": reference("Item")}
    catalogue = {"Page": page, "Item": {"type": "string"}, "Same": {}}
    ordering = {"Page": page, "Item": {"type": "integer"}, "Same": {}}
    both = {"anyOf": [reference("Page"), reference("Same")]}
    document = merge(products(both, catalogue) | orders(both, ordering))
    schemas = document["components"]["schemas"]
    assert schemas["product_Item"] == {"type": "string"}
    assert schemas["order_Item"] == {"type": "integer"}
    assert schemas["product_Page"] == {"items": reference("product_Item")}
    assert schemas["order_Page"] == {"items": reference("order_Item")}
    assert schemas.keys() - {"Problem"} == {
        f"{service}_{name}" for service in ("product", "order") for name in ("Page", "Item")
    } | {"Same"}
    assert schema_of(document, PLACE) == {"anyOf": [reference("order_Page"), reference("Same")]}


def test_difference_at_the_end_of_a_long_chain_renames_its_start_quickly() -> None:
    """A search that compared the whole chain for each link took a minute."""
    length = 4_000

    def chain(last: str) -> dict[str, Any]:
        links = {f"A{n}": {"items": reference(f"A{n + 1}")} for n in range(length)}
        return links | {f"A{length}": {"type": last}}

    both = products(reference("A0"), chain("string")) | orders(reference("A0"), chain("null"))
    documents = {
        service: read_document(content, [o for o in TABLE if o.upstream == service])
        for service, content in both.items()
        if content is not None
    }
    began = time.process_time()
    document = merged_document(documents, TABLE, ISSUER)
    assert time.process_time() - began < 3
    assert schema_of(document, PLACE) == reference("order_A0")


def test_one_and_true_are_different_values() -> None:
    one, true = {"A": {"default": 1}}, {"A": {"default": True}}
    document = merge(products(reference("A"), one) | orders(reference("A"), true))
    assert document["components"]["schemas"].keys() == {"product_A", "order_A", "Problem"}


def test_new_schema_name_does_not_collide() -> None:
    catalogue = {"A": {"type": "string"}, "product_A": {"type": "null"}}
    both = {"anyOf": [reference("A"), reference("product_A")]}
    other = {"A": {"type": "integer"}}
    document = merge(products(both, catalogue) | orders(reference("A"), other))
    schemas = document["components"]["schemas"]
    assert schemas["product_A"] == {"type": "null"}
    assert schemas["product_A_"] == {"type": "string"}
    assert schema_of(document, LIST)["anyOf"] == [reference("product_A_"), reference("product_A")]


def test_service_with_a_different_problem_schema_keeps_it() -> None:
    document = merge(products(reference("Problem"), {"Problem": {"type": "string"}}))
    listing = document["paths"]["/api/products"]["get"]["responses"]
    assert schema_of(document, LIST) == reference("product_Problem")
    own = listing["429"]["content"]["application/problem+json"]["schema"]
    assert own == reference("api-gateway_Problem")


def test_discriminators_point_to_the_renamed_schemas() -> None:
    def schemas(kind: str) -> dict[str, Any]:
        mapping = {"cat": reference("Cat")["$ref"], "dog": "Dog"}
        discriminator = {"propertyName": "kind", "mapping": mapping}
        pet = {"oneOf": [reference("Cat"), reference("Dog")], "discriminator": discriminator}
        return {"Pet": pet, "Cat": {"title": kind}, "Dog": {"title": "dog"}}

    pet = reference("Pet")
    document = merge(products(pet, schemas("a")) | orders(pet, schemas("b")))
    pets = document["components"]["schemas"]["order_Pet"]
    assert pets["oneOf"] == [reference("order_Cat"), reference("Dog")]
    assert pets["discriminator"]["mapping"] == {
        "cat": "#/components/schemas/order_Cat",
        "dog": "#/components/schemas/Dog",
    }


def test_duplicate_operation_ids_become_unique() -> None:
    document = merge(products(operationId="do") | orders(operationId="do"))
    assert document["paths"]["/api/products"]["get"]["operationId"] == "do"
    assert document["paths"]["/api/orders"]["post"]["operationId"] == "order-service_do"


def test_unavailable_service_is_named_and_the_others_are_documented() -> None:
    document = merge(products() | {ORDERS: None})
    assert list(document["paths"]) == ["/api/products"]
    assert [tag["name"] for tag in document["tags"]] == [PRODUCTS]
    assert ORDERS in document["info"]["description"]
    assert PRODUCTS not in document["info"]["description"]


def test_document_without_any_service_is_valid() -> None:
    assert merge({PRODUCTS: None, ORDERS: None})["paths"] == {}


def test_only_paths_under_api_are_documented() -> None:
    metrics = Operation("GET", "/metrics", Access.PUBLIC, PRODUCTS)
    content = a_document({("GET", "/metrics"): an_operation()})
    documents: dict[str, ServiceDocument | None] = {PRODUCTS: read_document(content, [metrics])}
    assert merged_document(documents, [metrics], ISSUER)["paths"] == {}


def test_login_urls_belong_to_the_issuer() -> None:
    scheme = merge(products())["components"]["securitySchemes"]["login"]
    assert scheme["flows"]["authorizationCode"]["authorizationUrl"] == (
        f"{ISSUER}/protocol/openid-connect/auth"
    )
    tokens = {flow["tokenUrl"] for flow in scheme["flows"].values()}
    assert tokens == {f"{ISSUER}/protocol/openid-connect/token"}


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    friends: list["Dog"] = []


class Shelf(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]


def test_document_of_fastapi_is_merged_completely() -> None:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/api/products", responses=problem_responses())
    def create(shelf: Shelf) -> Shelf:
        """Put pets on a shelf."""
        return shelf

    theirs = app.openapi()["paths"]["/api/products"]["post"]
    ours = merge({PRODUCTS: json.dumps(app.openapi()).encode()})["paths"]["/api/products"]["post"]
    assert ours["requestBody"] == theirs["requestBody"]
    assert ours["summary"] == "Create"
    assert ours["description"].endswith("Put pets on a shelf.")
    assert "for the role admin" in ours["description"].lower()
