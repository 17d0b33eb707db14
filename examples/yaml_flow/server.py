"""Payments: EUR and NOK are taken, USD is not; who reviewed a large one must be told."""


class Api:
    def answer(self, request):
        match request.method, request.path:
            case "POST", "/reviews":
                return 201, {"reviewer": "grace"}
            case "POST", "/payments":
                return self.pay(request.json)
            case "POST", "/alarms":
                return 204, None
        return 404, {"error": f"nothing at {request.method} {request.path}"}

    def pay(self, body):
        if body["currency"] == "USD":
            return 422, {"error": "no dollars today"}
        if body["currency"] != "NOK" and body["amount"] >= 1000 and body["reviewer"] != "grace":
            return 409, {"error": "a large payment needs a review"}
        return 201, {"id": "p-1"}
