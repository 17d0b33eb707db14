"""One API per kind of credential. The first access token dies at once, as tokens do at bad moments."""

from base64 import b64encode
from urllib.parse import parse_qs

CLIENT = "Basic " + b64encode(b"example:wobbly-bicycle").decode()
REPORTER = "Basic " + b64encode(b"reporter:correct horse battery").decode()
AUDITOR = "Bearer quiet-lantern"


class Api:
    def __init__(self):
        self.tokens = []

    def answer(self, request):
        known = request.headers.get("authorization")
        match request.method, request.path:
            case "POST", "/oauth/token":
                return self.token(request, known)
            case "GET", "/accounts" | "/accounts/a-1":
                if len(self.tokens) < 2 or known != f"Bearer {self.tokens[-1]}":
                    return 401, {"error": "invalid_token"}, {"WWW-Authenticate": "Bearer"}
                one = {"id": "a-1", "owner": "Ada"}
                return 200, one if request.path.endswith("a-1") else [one]
            case "GET", "/reports/today":
                return (200, {"title": "All is well"}) if known == REPORTER else (401, {"error": "no"})
            case "POST", "/audit":
                return (204, None) if known == AUDITOR else (403, {"error": "no"})
        return 404, {"error": f"nothing at {request.method} {request.path}"}

    def token(self, request, known):
        form = parse_qs(request.body.decode())
        if known != CLIENT or form.get("grant_type") != ["client_credentials"]:
            return 401, {"error": "invalid_client"}
        if form.get("scope") != ["accounts.read"]:
            return 400, {"error": "invalid_scope"}
        self.tokens.append(f"access-{len(self.tokens) + 1}-of-example")
        return 200, {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 3600}
