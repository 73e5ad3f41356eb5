"""Errors of the catalogue and their HTTP status."""

from chassis.problems import Problem, ServiceUnavailable


class ProductNotFound(Problem):
    status = 404
    type = "/problems/product-not-found"
    title = "Product not found"
    example = "There is no product 665f1c2e9b1d4c3a2f8e7d60."


class InvalidProductId(Problem):
    status = 400
    type = "/problems/invalid-product-id"
    title = "Invalid product id"
    example = "A product id is 24 hexadecimal digits."


class InvalidImageName(Problem):
    status = 400
    type = "/problems/invalid-image-name"
    title = "Invalid image name"
    example = "An image's name is 1 to 80 lower-case letters, digits and hyphens."


class FileTooLarge(Problem):
    status = 413
    example = "The file has more than 10,000 rows: send it in parts."


class UnsupportedFileType(Problem):
    status = 415
    example = "The body must be text/csv, application/x-ndjson or application/json, in UTF-8."


class CatalogueUnavailable(ServiceUnavailable):
    example = "The catalogue's database does not answer; try again shortly."
