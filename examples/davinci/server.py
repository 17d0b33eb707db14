"""The services behind the example: tokens, customers and scores."""

from base64 import b64encode

CREDENTIALS = b64encode(b"account-opening:wobbly-bicycle").decode()
TOKEN = "access-for-accounts"


class Api:
    def answer(self, request):
        given = request.headers.get("authorization")
        if request.path == "/oauth/token":
            if given != f"Basic {CREDENTIALS}":
                return 401, {"error": "invalid_client"}
            return 200, {"access_token": TOKEN, "token_type": "Bearer"}
        if given != f"Bearer {TOKEN}":
            return 401, {"error": "no token"}
        if request.path == "/customers":
            [email] = request.query["email"]
            return 200, {"id": "c-7", "name": email.partition("@")[0].title()}
        if request.path == "/scores":
            return 200, {"score": request.json["age"] * 2}
        return 404, {"error": "nothing here"}
