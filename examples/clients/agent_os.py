"""An agent that is a program: the eight system calls over standard input and output.

    agent = Agent()
    answer = agent.exec("echo", {"text": "hi"})
    agent.write("/mem/working/note", "remembered")

Each way goes one frame after the other: four bytes of length, most significant first, and a JSON object. Nothing but the
standard library is used. What the program prints goes to standard error, so that no print comes between two frames.
"""

import base64
import itertools
import json
import os
import struct
import sys


class Refused(Exception):
    """A call that was refused or failed: `code`, `class`, `retryable`, `message`, and more for a refusal by policy."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.error = error
        self.code = error["code"]


class Agent:
    """The way to the kernel. `id` is the agent's name, `input` what it was given to do."""

    def __init__(self):
        self._requests = os.fdopen(os.dup(1), "wb")
        self._answers = sys.stdin.buffer
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._ids = itertools.count(1)
        self._waiting = {}
        hello = self._receive()
        self.id, self.input = hello["agent"], hello["input"]

    # The calls. Each waits for its answer, and raises `Refused`.

    def read(self, path=None, *, descriptor=None, offset=None, length=None, nonblock=False):
        """The bytes of a file, or of a directory's listing; at most 256 KiB."""
        call = {"path": path, "descriptor": descriptor, "offset": offset, "length": length}
        answer = self.call("read", nonblock=nonblock, **_said(call))
        return answer["text"].encode() if "text" in answer else base64.b64decode(answer["base64"])

    def write(self, path=None, data=b"", *, descriptor=None, offset=None, change=None, expected=None, ttl_ms=None):
        """Replaces a file, or what `change` says: `append`, `create_new`, `remove`. Returns the version it has now."""
        data = data.encode() if isinstance(data, str) else data
        call = {"path": path, "descriptor": descriptor, "offset": offset, "change": change, "expected": expected}
        text = base64.b64encode(data).decode()
        return self.call("write", base64=text, **_said({**call, "ttl_ms": ttl_ms}))["version"]

    def open(self, path, **flags):
        """A descriptor. The flags: `read`, `write`, `append`, `create`, `exclusive`."""
        return self.call("open", path=path, flags=flags)["descriptor"]

    def close(self, descriptor):
        self.call("close", descriptor=descriptor)

    def exec(self, tool, arguments=None, *, deadline_ms=None):
        """What a tool answers."""
        call = {"tool": tool, "arguments": arguments or {}, "deadline_ms": deadline_ms}
        return self.call("exec", **_said(call))["output"]

    def signal(self, to, signal, reason=""):
        self.call("signal", to=to, signal=signal, reason=reason)

    def mask(self, block=(), unblock=()):
        self.call("mask", block=list(block), unblock=list(unblock))

    def await_signal(self, signals, deadline_ms):
        """Who raised which of these signals, when and why."""
        return self.call("await", signals=list(signals), deadline_ms=deadline_ms)

    def check_policy(self, name, **members):
        """What a call would get: `verdict` and `rules`."""
        return self.call("check_policy", **{name: members})

    def exit(self, code=0, message=""):
        """Ends the agent, and with it this program: it does not return."""
        self.begin("exit", code=code, message=message)
        while True:
            self._receive()

    def call(self, name, **members):
        return self.finish(self.begin(name, **members))

    # Several calls at once: begin them all, then finish each.

    def begin(self, name, **members):
        """Makes a call and does not wait for it."""
        number = next(self._ids)
        frame = json.dumps({"id": number, "call": {name: members}}).encode()
        self._requests.write(struct.pack(">I", len(frame)) + frame)
        self._requests.flush()
        return number

    def finish(self, number):
        """Waits for the answer of a call that was begun."""
        while number not in self._waiting:
            answer = self._receive()
            self._waiting[answer["id"]] = answer
        answer = self._waiting.pop(number)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    def _receive(self):
        (length,) = struct.unpack(">I", self._exactly(4))
        return json.loads(self._exactly(length))

    def _exactly(self, length):
        data = self._answers.read(length)
        if len(data) < length:
            sys.exit("the kernel is gone")
        return data


def _said(members):
    return {name: value for name, value in members.items() if value is not None}
