"""A user registration API: it checks what it gets, and knows whom it has registered."""

import threading


class Api:
    def __init__(self):
        self.users = {}
        self.lock = threading.Lock()

    def answer(self, request):
        if request.method != "POST":
            return 405, {"error": "POST is the only method here"}, {"Allow": "POST"}
        if not request.headers.get("content-type", "").startswith("application/json"):
            return 415, {"error": "send application/json"}
        if not isinstance(request.json, dict):
            return 400, {"error": "the body is not a JSON object"}
        routes = {
            "/auth/register": self.register,
            "/auth/verify-email": self.verify,
            "/notifications/welcome": self.welcome,
        }
        route = routes.get(request.path)
        if route is None:
            return 404, {"error": f"nothing at {request.path}"}
        with self.lock:
            return route(request.json)

    def register(self, body):
        errors = {}
        if not isinstance(body.get("username"), str) or not 3 <= len(body["username"]) <= 50:
            errors["username"] = "3 to 50 characters"
        if not isinstance(body.get("email"), str) or "@" not in body["email"]:
            errors["email"] = "an e-mail address"
        if not isinstance(body.get("password"), str) or len(body["password"]) < 8:
            errors["password"] = "8 characters or more"
        if errors:
            return 422, {"errors": errors}
        if any(user["username"] == body["username"] for user in self.users.values()):
            return 409, {"error": "the name is taken"}
        number = 1001 + len(self.users)
        user = {"id": number, "username": body["username"], "role": "member"}
        self.users[number] = {**user, "token": f"activate-{number}", "verified": False}
        return 201, {"user": user, "activation_token": f"activate-{number}"}

    def verify(self, body):
        for user in self.users.values():
            if user["token"] == body.get("token"):
                user["verified"] = True
                return 200, {"status": "verified"}
        return 400, {"error": "no such token"}

    def welcome(self, body):
        user = self.users.get(body.get("userId"))
        if user is None or user["role"] != body.get("userRole"):
            return 422, {"error": "no such user in that role"}
        if not user["verified"]:
            return 409, {"error": "the address is not verified"}
        return 202, {"email_id": f"mail-{body['userId']}"}
