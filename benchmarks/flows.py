"""The flows that are measured, as documents."""

import json
from pathlib import Path

INPUTS = {
    "username": "ada",
    "email": "ada@example.com",
    "password": "correct horse battery",
    "sendWelcomeEmail": True,
}
_JSON = {"Content-Type": "application/json"}


def document(*steps, inputs=(), **config) -> dict:
    data = {"version": "1.0", "steps": list(steps), "config": config}
    return {"name": "measured", "flow_inputs": list(inputs), "flow_data": data}


def registration() -> dict:
    """Three requests; each but the first needs what one before it returned."""
    inputs = [
        {"name": "username", "type": "string", "required": True, "validation": {"min_length": 3}},
        {"name": "email", "type": "email", "required": True},
        {"name": "password", "type": "password", "required": True, "validation": {"min_length": 8}},
        {"name": "sendWelcomeEmail", "type": "boolean", "default": True},
    ]
    register = {
        "id": "register",
        "method": "POST",
        "url": "{{env.API_URL}}/auth/register",
        "headers": _JSON,
        "body": {name: f"{{{{input.{name}}}}}" for name in ("username", "email", "password")},
        "outputs": {
            "userId": "response.body.user.id",
            "activationToken": "response.body.activation_token",
            "userRole": "response.body.user.role",
        },
    }
    verify = {
        "id": "verify_email",
        "method": "POST",
        "url": "{{env.API_URL}}/auth/verify-email",
        "headers": _JSON,
        "body": {"token": "{{register.activationToken}}"},
        "outputs": {"verificationStatus": "response.body.status"},
    }
    welcome = {
        "id": "send_welcome",
        "method": "POST",
        "url": "{{env.API_URL}}/notifications/welcome",
        "headers": _JSON,
        "condition": "{{input.sendWelcomeEmail}} === true",
        "body": {"userId": "{{register.userId}}", "userRole": "{{register.userRole}}"},
        "outputs": {"emailId": "response.body.email_id"},
    }
    return document(register, verify, welcome, inputs=inputs, retryCount=1)


def one_step(origin: str) -> dict:
    """One request, nothing else."""
    return document({"id": "one", "method": "GET", "url": f"{origin}/one"})


def long(count: int) -> dict:
    """Many steps as people write them: some texts repeat, some differ, and each refers to the one before."""
    inputs = [
        {"name": "username", "type": "string", "required": True, "validation": {"min_length": 3}},
        {"name": "email", "type": "email", "required": True},
        {"name": "sendWelcomeEmail", "type": "boolean", "default": True},
    ]
    return document(*(_long_step(number) for number in range(count)), inputs=inputs, retryCount=1)


def _long_step(number: int) -> dict:
    before = f"{{{{s{number - 1}.userId}}}}" if number else "nobody"
    step = {
        "id": f"s{number}",
        "name": f"Step {number}",
        "method": "POST",
        "url": "{{env.API_URL}}/auth/register",
        "headers": {**_JSON, "X-Number": str(number)},
        "body": {
            "username": "{{input.username}}",
            "before": before,
            "deep": {"a": [1, 2, {"b": "{{input.email}}"}]},
        },
        "outputs": {"userId": "response.body.user.id", "token": "response.body.activation_token"},
    }
    return step if number % 3 else {**step, "condition": "{{input.sendWelcomeEmail}} === true"}


def many(count: int, *, parallel: bool, origin: str = "") -> dict:
    """Steps that do next to nothing, in a chain or independent: requests if there is an origin."""
    if origin:
        steps = ({"id": f"s{number}", "method": "GET", "url": f"{origin}/one"} for number in range(count))
    else:
        steps = ({"id": f"s{number}", "set": {"value": number}} for number in range(count))
    return document(*steps, parallel=parallel)


def write(path: Path, value: dict) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
