"""Generated product images."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.errors import InvalidImageName
from app.services.product_image import draw_product, is_image_name
from chassis.problems import problem_responses

router = APIRouter(prefix="/api/products/images", tags=["images"])

_HEADERS = {
    "Cache-Control": "public, max-age=86400, stale-while-revalidate=604800",
    # An image opened as a page must not run scripts or load resources.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@router.get(
    "/{slug}.svg",
    summary="Draw a product's picture",
    response_class=Response,
    responses={
        200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}},
        **problem_responses(InvalidImageName),
    },
)
async def image(
    slug: Annotated[
        str,
        Path(
            description="1 to 80 lower-case letters, digits and hyphens",
            examples=["walnut-desk-lamp"],
            json_schema_extra={"pattern": "^[a-z0-9-]{1,80}$"},
        ),
    ],
) -> Response:
    """Draw the image of a name. The same name always gives the same image."""
    if not is_image_name(slug):
        raise InvalidImageName(InvalidImageName.example)
    return Response(draw_product(slug), media_type="image/svg+xml", headers=_HEADERS)
