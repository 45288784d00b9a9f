"""A server that does as a script says: a JSON file that is read again for each message, so that a test can change what
the server is while it runs. Every message that arrives is appended to the file `log` of the script's folder.

    tools     what tools/list shows; `many` tools more are made up, `pages` is "endless" or "loop", `wide` makes them large
    calls     what each tool does: {"result": …}, {"error": …}, or one of the words below
    modern    whether it speaks 2026-07-28; else it is greeted with initialize, and answers with `version`
    greeting  "silent": no answer to anything
    junk      lines to print before anything else
"""

import itertools
import json
import os
import sys

SCRIPT = sys.argv[1]
LOG = os.path.join(os.path.dirname(SCRIPT), "log")
held = []
asked = None


def script():
    with open(SCRIPT) as file:
        return json.load(file)


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def block():
    """Neither reads nor answers ever again."""
    read, _ = os.pipe()
    os.read(read, 1)


def listing(says, params):
    tools = list(says.get("tools", []))
    padding = "x" * says.get("wide", 0)
    for number in range(says.get("many", 0)):
        schema = {"type": "object", "$comment": padding}
        tools.append({"name": f"t{number}", "description": "One of many.", "inputSchema": schema})
    result = {"tools": tools}
    if says.get("pages"):
        cursor = int(params.get("cursor", "0")) + 1
        result["nextCursor"] = "1" if says["pages"] == "loop" else str(cursor)
        if cursor > 1:
            result["tools"] = []
    if says.get("modern"):
        # Says that its list may be kept for a day.
        result.update({"resultType": "complete", "ttlMs": 86_400_000, "cacheScope": "private"})
    return result


def call(says, number, params):
    global asked
    does = says["calls"][params["name"]]
    if isinstance(does, dict):
        send({"id": number, **does})
    elif does == "echo":
        send({"id": number, "result": text(json.dumps(params.get("arguments"), sort_keys=True))})
    elif does == "pid":
        send({"id": number, "result": text(str(os.getpid()))})
    elif does == "silence":
        pass
    elif does == "crash":
        os._exit(3)
    elif does == "block":
        block()
    elif does == "huge":
        sys.stdout.write("x" * (17 << 20))
        sys.stdout.flush()
        block()
    elif does == "values":
        send({"id": number, "result": {"structuredContent": [0] * 1_100_000, "content": []}})
    elif does == "flood":
        for step in itertools.count():
            send({"id": f"ping-{step}", "method": "ping"})
    elif does == "chatter":
        for step in range(20_000):
            send({"method": "notifications/progress", "params": {"progressToken": 1, "progress": step}})
            send({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
        send({"id": number, "result": text("done")})
    elif does == "stray":
        for other in (number + 1, number + 2, -1, "x", None, 10**30, 1.5):
            send({"id": other, "result": text("stray")})
        sys.stdout.buffer.write(b'\xff\xfe\n{"jsonrpc": "2.0", "id": \n[]\n"id"\n{"result": 1e400}\n\0\n')
        send({"id": number, "result": text("meant")})
        send({"id": number, "result": text("again")})
    elif does == "ask":
        asked = (number, ["sampling/createMessage", "roots/list", "elicitation/create", "no/such"], [])
        ask()
    elif does == "announce":
        send({"method": "notifications/tools/list_changed"})
        send({"id": number, "result": text("announced")})
    elif does == "hold":
        held.append(number)
    elif does == "release":
        for waiting in held:
            send({"id": waiting, "result": text("released")})
        send({"id": number, "result": text("last")})


def ask():
    """Makes the next request of the host, or answers the call with what became of all."""
    number, methods, answers = asked
    if len(answers) < len(methods):
        params = {"messages": [], "maxTokens": 1, "message": "m", "requestedSchema": {"type": "object", "properties": {}}}
        send({"id": f"ask-{len(answers)}", "method": methods[len(answers)], "params": params})
    else:
        send({"id": number, "result": text(" ".join(answers))})


def handle(message):
    says = script()
    method, number = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if says.get("greeting") == "silent":
        return
    if method is None:
        if asked and str(number).startswith("ask-"):
            asked[2].append(str(message["error"]["code"]) if "error" in message else "answered")
            ask()
    elif method == "server/discover" and says.get("modern"):
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
        send({"id": number, "result": {**result, "ttlMs": 0, "cacheScope": "private"}})
    elif method == "initialize" and not says.get("modern"):
        capabilities = {"tools": {"listChanged": bool(says.get("announces"))}}
        version = says.get("version", params["protocolVersion"])
        info = {"name": "scripted", "version": "1"}
        send({"id": number, "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}})
    elif method == "tools/list":
        send({"id": number, "result": listing(says, params)})
    elif method == "tools/call":
        call(says, number, params)
    elif number is not None:
        send({"id": number, "error": {"code": -32601, "message": "unknown method"}})


for line in script().get("junk", []):
    print(line, flush=True)
for line in sys.stdin:
    with open(LOG, "a") as log:
        log.write(line)
    handle(json.loads(line))
