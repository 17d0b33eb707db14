"""A shop: reserves, takes money once per Idempotency-Key, and sends parcels."""

import threading


class Api:
    def __init__(self):
        self.lock = threading.Lock()
        self.paid = {}
        self.parcels = 0

    def answer(self, request):
        with self.lock:
            match request.method, request.path:
                case "POST", "/reservations":
                    return 201, {"price": 4 * len(request.json["item"])}
                case "POST", "/payments":
                    key = request.headers.get("idempotency-key")
                    return 201, {"receipt": self.paid.setdefault(key, f"r-{len(self.paid) + 1}")}
                case "POST", "/parcels":
                    self.parcels += 1
                    return 201, {"parcel": f"p-{self.parcels}"}
        return 404, {"error": f"nothing at {request.method} {request.path}"}
