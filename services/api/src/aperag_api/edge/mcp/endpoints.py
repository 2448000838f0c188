"""Routes of the MCP service (contract 5): what is spoken there is MCP, so the OpenAPI description leaves them out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from aperag_api.edge.mcp.proxy import McpProxy
from aperag_api.kernel.http.rates import within_rate
from aperag_api.kernel.services import provided

router = APIRouter(include_in_schema=False, dependencies=[Depends(within_rate)])


@router.api_route("/mcp/", methods=["GET", "POST", "DELETE"])
@router.api_route("/mcp", methods=["GET", "POST", "DELETE"])
async def forward_to_mcp(request: Request, proxy: Annotated[McpProxy, Depends(provided(McpProxy))]) -> Response:
    """Whoever calls is found out by the routes that the tools in turn call."""
    return await proxy.forward(request)
