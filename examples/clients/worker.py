"""A worker: sums what it is given with a tool, leaves a note, and is refused what the policy does not allow."""

from agent_os import Agent, Refused

agent = Agent()
total = agent.exec("sum", {"numbers": agent.input["numbers"]})
agent.write("/mem/working/total", str(total))
note = agent.read("/mem/working/total").decode()
print(f"{agent.id}: the note says {note}")

asked = agent.check_policy("exec", tool="mail.send", arguments={"to": "eve@evil.example"})
print(f"{agent.id}: sending mail would be a {asked['verdict']}")
try:
    agent.exec("mail.send", {"to": "eve@evil.example"})
except Refused as refused:
    print(f"{agent.id}: {refused} [{refused.code}]")

agent.exit(0, f"the sum is {note}")
