"""The web process: landing page, product pages, cart and checkout, each step told on stdout as an event.

Settings: ``SHOP_REPLAY=1`` lets requests carry the time of day in ``X-Shop-Time`` (Unix seconds) and the
checkout its own order number and amount, so that a traffic driver can replay history. Never set it in
earnest: a visitor could then name his price.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from carts import Carts
from catalogue import PRODUCTS
from events import Clock, event_line, logfmt, write_line
from flask import Flask, abort, g, jsonify, render_template, request

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from werkzeug.wrappers import Response

MAX_QUANTITY = 1000
MAX_VALUE_MINOR = 100_000_000
REPLAY = os.environ.get("SHOP_REPLAY") == "1"
VISITOR = "visitor"

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
carts = Carts()
clock = Clock()


def emit(event: str, **fields: object) -> None:
    """Print one event of the present visitor."""
    common = {"user_id": g.visitor, "time": g.now, "path": request.path}
    write_line(event_line(clock.next(), event, common | fields))


def whole_number(name: str, *, lowest: int = 1, highest: int) -> int:
    """Return the form field ``name`` as an integer within the bounds; anything else is a 400."""
    text = request.form.get(name, "")
    if not (text.isascii() and text.isdigit() and lowest <= int(text[:12]) <= highest):
        abort(400, f"{name} must be a whole number from {lowest} to {highest}")
    return int(text)


@app.before_request
def know_the_visitor() -> None:
    """Find out who comes, and when."""
    g.visitor = request.cookies.get(VISITOR, "")[:64] or uuid.uuid4().hex
    given = request.headers.get("X-Shop-Time", "") if REPLAY else ""
    g.now = int(given) if given.isascii() and given.isdigit() else int(time.time())


@app.after_request
def remember_the_visitor(response: Response) -> Response:
    """Give a new visitor his cookie."""
    if VISITOR not in request.cookies:
        response.set_cookie(VISITOR, g.visitor, httponly=True, samesite="Lax")
    return response


@app.get("/")
def landing() -> ResponseReturnValue:
    """Show the shelf; tell where the visitor came from."""
    tags = {name: request.args.get(name, "")[:100] for name in ("utm_source", "utm_medium", "utm_campaign")}
    emit("landing", referrer=_referrer_host(), **tags)
    return render_template("landing.html", products=PRODUCTS.values())


def _referrer_host() -> str | None:
    host = urlsplit(request.headers.get("Referer", "")).hostname
    return host if host and host != request.host.partition(":")[0] else None


@app.get("/products/<slug>")
def product(slug: str) -> ResponseReturnValue:
    """Show one disc."""
    disc = PRODUCTS.get(slug)
    if disc is None:
        write_line(f"no such product: {slug[:80]!r}")
        abort(404)
    emit("product_view", product=slug, genre=disc.genre)
    return render_template("product.html", product=disc)


@app.post("/cart")
def add_to_cart() -> ResponseReturnValue:
    """Put a disc in the cart."""
    slug = request.form.get("product", "")
    if slug not in PRODUCTS:
        abort(404)
    quantity = whole_number("quantity", highest=MAX_QUANTITY)
    pieces = carts.add(g.visitor, slug, quantity)
    emit("add_to_cart", product=slug, quantity=quantity)
    return jsonify(pieces=pieces)


@app.post("/checkout")
def checkout() -> ResponseReturnValue:
    """Turn the cart into an order."""
    cart = carts.take(g.visitor)
    if not cart:
        abort(409, "the cart is empty")
    order_id = uuid.uuid4().hex
    value_minor = sum(PRODUCTS[slug].price_minor * pieces for slug, pieces in cart.items())
    if REPLAY and "order_id" in request.form:
        order_id = request.form["order_id"][:64]
        value_minor = whole_number("value_minor", lowest=0, highest=MAX_VALUE_MINOR)
    first, pieces = next(iter(cart)), sum(cart.values())
    title = PRODUCTS[first].title
    emit("purchase", order_id=order_id, value_minor=value_minor, quantity=pieces, product=first, title=title)
    write_line(logfmt(at="info", msg="order placed", order=order_id, pieces=pieces, value_minor=value_minor))
    return jsonify(order_id=order_id, pieces=pieces, value_minor=value_minor), 201


@app.get("/catalogue.json")
def catalogue() -> ResponseReturnValue:
    """List the products for machines; not a visit, so no event."""
    return jsonify([disc.slug for disc in PRODUCTS.values()])


write_line(logfmt(at="info", msg="shop open", products=len(PRODUCTS), replay=REPLAY))
