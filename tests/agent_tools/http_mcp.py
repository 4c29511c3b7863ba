"""A server of the official Python package over streamable HTTP on a free port, which it prints."""

import socket

import uvicorn
from mcp.server import MCPServer

server = MCPServer("sums")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def large() -> str:
    """Answers with more than anybody wants."""
    return "x" * (16 << 20)


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error")).run(sockets=[listening])
