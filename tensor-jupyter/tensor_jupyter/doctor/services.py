"""Check that each of the lab's services answers, and that no other program answers in its place."""

import shlex
import socket
from collections.abc import Callable

from tensor_jupyter.doctor import web
from tensor_jupyter.doctor.discovery import Where
from tensor_jupyter.doctor.finding import Finding, ok, problem, warning
from tensor_jupyter.doctor.listening import next_free
from tensor_jupyter.doctor.parallel import together
from tensor_jupyter.gateway import other_lab
from tensor_jupyter.settings import Settings

UP = "bin/compose.sh up"
_SERVICES = {
    "gateway": "tensor-rest",
    "model server": "tensor-serving",
    "watcher": "tensor-serving",
    "TensorBoard": "tensor-board",
    "JupyterLab": "tensor-jupyter",
}


def check(where: Where, settings: Settings) -> list[Finding]:
    """One finding for each service; a single one if the whole lab is down."""
    looks: dict[str, Callable[[], Finding]] = {
        "gateway": lambda: _gateway(where, settings),
        "model server": lambda: _model_server(where, settings),
        "watcher": lambda: _watcher(where),
        "TensorBoard": lambda: _board(where, settings),
        "JupyterLab": lambda: _jupyter(where),
    }
    found, failed = together(looks, 2.5 * web.SECONDS)  # some send two requests
    found |= {name: _silent(name, str(error)) for name, error in failed.items()}
    others = [found[name] for name in looks if name != "JupyterLab" or not where.container]
    if all(finding.level == "problem" for finding in others):
        silent = "; ".join(f"{finding.check}: {finding.found}" for finding in others[:1])
        return [problem("lab", f"no service answers ({silent})", "a running lab", UP)]
    return [found[name] for name in looks]


def _gateway(where: Where, settings: Settings) -> Finding:
    reply = web.get(f"{where.gateway}/healthz")
    if reply.silence:
        return _silent("gateway", f"no answer at {where.gateway} ({reply.silence})")
    if reply.status != 200 or "status" not in reply.document():
        return _strange("gateway", where.gateway, reply, "LAB_REST_URL")
    if other_lab(reply.document(), settings):
        found = f"another lab answers at {where.gateway}, where this lab's gateway should be"
        fix = f"LAB_REST_PORT={next_free(where.ports)} {UP}"
        return problem("gateway", found, "this lab, on a port of its own", fix)
    return ok("gateway", f"answers at {where.gateway}")


def _model_server(where: Where, settings: Settings) -> Finding:
    ours = not other_lab(web.get(f"{where.gateway}/healthz").document(), settings) if settings.id else True
    reply = web.get(f"{where.gateway}/readyz") if ours else web.Reply(0)
    if reply.status == 200 and reply.document().get("status") == "ready":
        return ok("model server", "answers the gateway")
    if reply.status == 503:
        return _silent("model server", f"the gateway answers: {_message(reply)}")
    host, port = where.serving
    try:
        socket.create_connection((host, port), web.SECONDS / 2).close()
    except OSError as error:
        return _silent("model server", f"no answer at {host}:{port} ({error.strerror or error})")
    return ok("model server", f"accepts connections at {host}:{port}; the gateway could not check it")


def _watcher(where: Where) -> Finding:
    reply = web.get(f"{where.watcher}/")
    if reply.silence:
        return _silent("watcher", f"no answer at {where.watcher} ({reply.silence})")
    models = reply.document().get("models")
    if reply.status != 200 or not isinstance(models, list):
        return _strange("watcher", where.watcher, reply, "TF_SERVER_INVENTORY_URL")
    if error := reply.document().get("error"):  # the served versions stay, but new ones are not loaded
        found = f"{str(error)[:300]} (last complete look: {reply.document().get('looked') or 'none'})"
        return problem("watcher", found, "a models folder that can be read", "bin/compose.sh logs tensor-serving")
    return ok("watcher", f"lists {len(models)} model{'' if len(models) == 1 else 's'}")


def _board(where: Where, settings: Settings) -> Finding:
    reply = web.get(f"{where.board}/data/environment")
    if reply.silence:
        return _silent("TensorBoard", f"no answer at {where.board} ({reply.silence})")
    shows = reply.document().get("data_location")
    if reply.status != 200 or not isinstance(shows, str):
        return _strange("TensorBoard", where.board, reply, "LAB_BOARD_URL")
    if shows != str(settings.logs.absolute()):
        return warning(
            "TensorBoard",
            f"shows {shows}",
            f"{settings.logs.absolute()}, where runs are logged",
            f"export LAB_LOGS={shlex.quote(shows)}",
        )
    runs = web.get(f"{where.board}/data/runs")  # from its data server, a process of its own
    if runs.status != 200:
        return _silent("TensorBoard", f"shows no runs at {where.board} ({runs.silence or runs.status})")
    return ok("TensorBoard", f"answers at {where.board} and shows {shows}")


def _jupyter(where: Where) -> Finding:
    """Whether it answers, and whether it authenticates: its clients can do everything that its user can."""
    reply = web.get(f"{where.jupyter}/api")
    if reply.silence:
        return _silent("JupyterLab", f"no answer at {where.jupyter} ({reply.silence})")
    if reply.status != 200 or "version" not in reply.document():
        return _strange("JupyterLab", where.jupyter, reply, "LAB_JUPYTER_PORT")
    if web.get(f"{where.jupyter}/api/status").status == 200:
        return problem(
            "JupyterLab",
            f"answers at {where.jupyter} without a token: any client that reaches it can run any command",
            "a token",
            "bin/compose.sh restart tensor-jupyter",
        )
    return ok("JupyterLab", f"answers at {where.jupyter} and requires its token")


def _silent(check: str, found: str) -> Finding:
    return problem(check, found, "an answer", f"bin/compose.sh restart {_SERVICES[check]}")


def _strange(check: str, url: str, reply: web.Reply, variable: str) -> Finding:
    status = f"{reply.status}" + (f": {_message(reply)}" if _message(reply) else "")
    return problem(check, f"something else answers at {url} ({status})", f"the lab's own, or {variable} set", UP)


def _message(reply: web.Reply) -> str:
    """The message in the lab's error document; another program's text is not shown."""
    return str(reply.document().get("message", ""))[:200]


def silent(found: list[Finding]) -> set[str]:
    """The compose services that do not answer, at least in part."""
    checks = {finding.check for finding in found if finding.level == "problem"}
    return set(_SERVICES.values()) if "lab" in checks else {_SERVICES[name] for name in checks & _SERVICES.keys()}
