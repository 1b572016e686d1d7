"""Whether the server lives, whether it can be used, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mob.server.front.routes import Call, Route
from mob.server.realm.realm import Realm
from mob.server.rest.metrics import CONTENT_TYPE, Metric, realm_metrics, render
from mob.server.rest.schemas import component


def health_routes(realm: Realm, more: Callable[[], Iterable[Metric]]) -> list[Route]:
    """`/healthz` is answered as long as the process runs its loop; `/readyz` says whether its mobs run.

    `more` gives what others count.
    """

    async def healthz(call: Call) -> None:
        await call.reply.send_json(200, {"status": "ok"})

    async def readyz(call: Call) -> None:
        mobs = {hosted.mob_id: hosted.state for hosted in realm.mobs}
        ready = all(state == "running" for state in mobs.values())
        status = 200 if ready else 503
        await call.reply.send_json(status, {"status": "ready" if ready else "not_ready", "mobs": mobs})

    async def metrics(call: Call) -> None:
        text = render([*realm_metrics(realm), *more()])
        await call.reply.send_bytes(200, text.encode(), CONTENT_TYPE)

    ready = component("Readiness")
    return [
        Route("GET", "/healthz", healthz, "The process lives.", auth="open", tag="server", answer=component("Health")),
        Route(
            "GET",
            "/readyz",
            readyz,
            "The realm is open, and every mob runs.",
            auth="open",
            tag="server",
            answer=ready,
            answers={503: ready},
        ),
        Route(
            "GET",
            "/metrics",
            metrics,
            "What the server counts, for Prometheus.",
            tag="server",
            answer={"type": "string"},
            content_type="text/plain",
        ),
    ]
