"""The official MCP client, told what to do line by line: mcp_client.py MODE COMMAND [ARGUMENT...]

Each line on stdin is {"tool", "arguments", "timeout"?} or {"list": true}; each line on stdout answers one. The server is COMMAND,
in this process' environment; MODE is legacy (it is initialised) or auto (it is asked what it is).
"""

import json
import os
import sys

import anyio
from mcp import Client, MCPError, StdioServerParameters


def say(document):
    print(json.dumps(document), flush=True)


async def call(client, line):
    progress = []

    async def heard(so_far, _total, message):
        progress.append([so_far, message])

    try:
        result = await client.call_tool(
            line["tool"], line["arguments"], read_timeout_seconds=line.get("timeout", 50), progress_callback=heard
        )
    except MCPError as error:
        return {"raised": str(error)}
    return {
        "is_error": bool(result.is_error),
        "document": result.structured_content,
        "texts": [block.text for block in result.content],
        "progress": progress,
    }


async def main(mode, command, arguments):
    server = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with Client(server, mode=mode) as client:
        say({"server": client.server_info.name, "version": client.protocol_version, "instructions": client.instructions})
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            line = json.loads(line)
            if "list" in line:
                say([tool.model_dump(by_alias=True, mode="json") for tool in (await client.list_tools()).tools])
            else:
                say(await call(client, line))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
