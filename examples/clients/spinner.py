"""An agent that never awaits: nothing it could be asked would reach it."""

from agent_os import Agent

agent = Agent()
while True:
    pass
