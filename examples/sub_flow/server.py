"""A login with a form, and articles that take a bearer token and a file."""

from urllib.parse import parse_qs

TOKEN = "letter-box-9172"


class Api:
    def answer(self, request):
        match request.method, request.path:
            case "POST", "/login":
                form = parse_qs(request.body.decode())
                if form != {"user": ["editor"], "password": ["correct horse battery"]}:
                    return 401, {"error": "wrong user or password"}
                return 200, {"token": TOKEN}
            case "POST", "/articles":
                if request.headers.get("authorization") != f"Bearer {TOKEN}":
                    return 401, {"error": "log in first"}
                if b"# Flows within flows" not in request.body:
                    return 422, {"error": "no text"}
                return 201, {"link": "/articles/1"}
        return 404, {"error": f"nothing at {request.method} {request.path}"}
