"""A shop: its two lookups, and its two quotes, each wait until both have been asked for."""

import threading

ITEMS = [
    {"sku": "lamp", "count": 1, "price": 30, "weight": 2},
    {"sku": "bulb", "count": 4, "price": 2.5, "weight": 0},
]


class Api:
    def __init__(self):
        self.lookups = threading.Barrier(2, timeout=10)
        self.quotes = threading.Barrier(2, timeout=10)
        self.orders = {}

    def answer(self, request):
        body = request.json
        match request.method, request.path:
            case "GET", "/customers/c-7":
                return self.together(self.lookups, {"id": "c-7", "country": "NO", "email": "ada@example.com"})
            case "GET", "/carts" if request.query == {"customer": ["c-7"]}:
                return self.together(self.lookups, {"items": ITEMS})
            case "POST", "/prices":
                total = sum(item["count"] * item["price"] for item in body["items"])
                return self.together(self.quotes, {"total": total})
            case "POST", "/shipping" if body["country"] == "NO":
                return self.together(self.quotes, {"cost": 5 * sum(body["weights"])})
            case "POST", "/orders":
                return self.order(request)
            case "POST", "/mails":
                return 202, {"queued": body["to"]}
        return 404, {"error": f"nothing at {request.method} {request.path}"}

    def together(self, barrier, body):
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            return 500, {"error": "the other request did not come at the same time"}
        return 200, body

    def order(self, request):
        key = request.headers.get("idempotency-key")
        if not key:
            return 400, {"error": "an order needs an Idempotency-Key"}
        number = self.orders.setdefault(key, f"o-{len(self.orders) + 1}")
        return 201, {"state": "placed", "amount": request.json["amount"]}, {"Location": f"/orders/{number}"}
