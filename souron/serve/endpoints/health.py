"""``GET /health``: whether the server is ready, and its counts."""

import time

from fastapi import FastAPI
from pydantic import BaseModel

from souron.serve.service import Service
from souron.utils.messages import _


class Health(BaseModel):
    ready: bool = True
    model: str
    task: str
    uptime: float
    waiting: int
    served: int
    cases: int
    batches: int


def add(app: FastAPI, service: Service) -> None:
    @app.get(
        "/health",
        summary=_("Whether the server is ready, its uptime and its counts"),
        response_description=_("the server is ready"),
    )
    async def health() -> Health:
        return Health(
            model=service.name,
            task=service.task,
            uptime=round(time.monotonic() - service.start, 3),
            waiting=service.waiting,
            served=service.served,
            cases=service.batcher.cases,
            batches=service.batcher.batches,
        )
