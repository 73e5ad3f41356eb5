"""All mutants in the order of execution."""

from tests.mutants.chassis import CHASSIS
from tests.mutants.gateway import GATEWAY
from tests.mutants.mails import MAILS
from tests.mutants.orders import ORDERS
from tests.mutants.products import PRODUCTS
from tests.mutants.stock import STOCK

MUTANTS = [*STOCK, *PRODUCTS, *ORDERS, *CHASSIS, *MAILS, *GATEWAY]
