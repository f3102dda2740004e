"""Return the current request and its state. Their proxies in Flask look them up again at each use."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from flask import Request, g, request

if TYPE_CHECKING:
    from flask.ctx import _AppCtxGlobals
    from werkzeug.local import LocalProxy

current_request: Callable[[], Request] = cast("LocalProxy[Request]", request)._get_current_object  # noqa: SLF001 - documented in Flask's "Notes On Proxies"
current_state: Callable[[], "_AppCtxGlobals"] = cast("LocalProxy[_AppCtxGlobals]", g)._get_current_object  # noqa: SLF001 - as above
