"""What scripts that drive a client against a hub share: they say of each operation what came of it."""

import json
import time
import traceback

results = []


def operation(client):
    """Runs the function at once and writes one JSON object: client, operation, result ("ok" or what went wrong)."""

    def decorate(function):
        name = function.__name__.replace("_", " ")
        try:
            function()
            result = "ok"
        except Exception as error:  # noqa: BLE001 what went wrong is the result
            body = getattr(getattr(error, "response", None), "text", "")
            body = body() if callable(body) else body
            result = f"{type(error).__name__}: {error} {body}".strip()
            traceback.print_exc()
        results.append(result)
        print(json.dumps({"client": client, "operation": name, "result": result}), flush=True)
        return function

    return decorate


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come in time")
        time.sleep(0.05)
