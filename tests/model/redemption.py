"""Explore every interleaving of posts with one nonce over a Redis primary and its replicas: `make model`.

The model has one key. It follows RedisNonceStore and RedisLink: the command that decides is one `SET` on the primary,
`WAIT` follows on the same connection, and neither is sent twice. Two documents with one nonce have the same key as two
copies of one document (`_name` in nonce_store.py), so a post has no other content here.

These events happen in any order and number: a command arrives, is executed, or is abandoned; an answer arrives or is
lost; a process of the service dies; a write reaches a replica; a server crashes and restarts; a replica is promoted,
also while the primary works; a server is told to follow another one; time passes. A breadth-first search visits every
state, so the first state with two acceptances that it finds has the shortest history.

Not modelled: the same nonce drawn again by a later issue; clocks of Redis servers that differ; chained replicas.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from model.states import Clock, Post, Restart, Role, Server, Setup, State, Step, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    states: int
    transitions: int
    most_accepted: int
    #: The shortest history with two acceptances, or empty.
    counterexample: tuple[str, ...]


_OVER = Post(Step.OVER)
_LISTENING = frozenset({Step.SENT, Step.READ, Step.FIRST})
_CONNECTED = _LISTENING | {Step.ABANDONED}
Steps = Iterator[tuple[str, State]]


def explore(setup: Setup) -> Result:
    """Visit every state. Stop at the first one with two acceptances."""
    start = initial(setup)
    parents: dict[State, State | None] = {start: None}
    waiting = deque([start])
    most = transitions = 0
    history: tuple[str, ...] = ()
    while waiting and not history:
        state = waiting.popleft()
        most = max(most, sum(post.step is Step.ACCEPTED for post in state.posts))
        if most > 1:
            history = _history(state, parents, setup)
        for _, after in steps(state, setup):
            transitions += 1
            found = _canonical(after)
            if found not in parents:
                parents[found] = state
                waiting.append(found)
    return Result(states=len(parents), transitions=transitions, most_accepted=most, counterexample=history)


def initial(setup: Setup) -> State:
    """Return the state right after the issue of the nonce, which has not reached a replica."""
    value = Value.ABSENT if setup.remembers_documents else Value.UNUSED
    replicas = (Server(Role.REPLICA, Value.ABSENT, 0),) * setup.replicas
    return State((Server(Role.PRIMARY, value, 0), *replicas), (Post(),) * setup.posts, Clock.VALID)


def steps(state: State, setup: Setup) -> Steps:
    """Return each event that can happen next, with the state after it."""
    for number, post in enumerate(state.posts):
        name = f"post {number + 1}"
        match post.step:
            case Step.UNSENT:
                yield from _send(state, setup, number, name)
            case Step.SENT | Step.ABANDONED:
                yield from _execute(state, setup, number, name)
            case Step.READ:
                yield f"{name}: the mark is written", _marked(state, number, post)
            case Step.FIRST if _is_confirmed(state, setup, post.server):
                yield f"{name}: the service accepts", _with_post(state, number, Post(Step.ACCEPTED))
        if post.step is Step.SENT:
            abandoned = Post(Step.ABANDONED, post.server)
            yield (
                f"{name}: no answer in time, or the process dies; the command is under way",
                _with_post(state, number, abandoned),
            )
        elif post.step in _LISTENING:
            yield f"{name}: 503 (answer lost, too few replicas), or the process dies", _with_post(state, number, _OVER)
    for number in range(len(state.servers)):
        yield from _serve(state, setup, number, _server_name(number))
    yield from _pass_time(state, setup)


def _send(state: State, setup: Setup, number: int, name: str) -> Steps:
    """Send the command to any server that takes writes, or to none: the document expired, or the circuit is open."""
    yield f"{name}: refused or 503 before a command is sent", _with_post(state, number, _OVER)
    if state.clock >= Clock.DOCUMENT_EXPIRED:
        return
    beliefs = {
        Clock.VALID: (True,),
        Clock.EXPIRED_FOR_SOME: (True, False),
    }.get(state.clock, (setup.remembers_documents,))
    for place, server in enumerate(state.servers):
        if server.role is Role.PRIMARY:
            for can_pass in beliefs:
                sent = _with_post(state, number, Post(Step.SENT, place, can_pass))
                yield f"{name}: the service sends the command to {_server_name(place)}", sent


def _execute(state: State, setup: Setup, number: int, name: str) -> Steps:
    post = state.posts[number]
    server = state.servers[post.server]
    if server.role is not Role.PRIMARY:
        yield f"{name}: {_server_name(post.server)} is read-only", _with_post(state, number, _OVER)
        return
    is_first = server.value is (Value.ABSENT if setup.remembers_documents else Value.UNUSED)
    if not is_first:
        found = "used" if server.value is Value.USED else "unknown"
        yield (
            f"{name}: {_server_name(post.server)} finds it {found}, so it is refused",
            _with_post(state, number, _OVER),
        )
    elif not setup.is_atomic and post.step is Step.SENT:
        read = Post(Step.READ, post.server, post.can_pass)
        yield f"{name}: {_server_name(post.server)} answers that it is unused", _with_post(state, number, read)
    else:
        yield f"{name}: {_server_name(post.server)} finds it unused and marks it", _marked(state, number, post)


def _marked(state: State, number: int, post: Post) -> State:
    server = state.servers[post.server]
    if server.role is not Role.PRIMARY:
        return _with_post(state, number, _OVER)
    can_pass = post.can_pass and post.step is not Step.ABANDONED
    after = _with_post(state, number, Post(Step.FIRST, post.server, can_pass=True) if can_pass else _OVER)
    return _with_server(after, post.server, server._replace(value=Value.USED))


def _is_confirmed(state: State, setup: Setup, primary: int) -> bool:
    """Return True if the link takes the answer to WAIT for enough."""
    if not setup.checks_count:
        return True
    wanted = Value.USED if setup.waits_for_own_write else Value.ABSENT
    count = sum(
        server.role is Role.REPLICA and server.leader == primary and server.value >= wanted for server in state.servers
    )
    return count >= setup.wait_replicas


def _serve(state: State, setup: Setup, number: int, name: str) -> Steps:
    """Replicate, crash, restart, promote, follow."""
    server = state.servers[number]
    if server.role is Role.DOWN:
        for value in sorted({server.value, _after_restart(server.value, state.clock, setup)}, reverse=True):
            leads = server.leader == number and _may_lead(state, setup, value)
            role = Role.PRIMARY if leads else Role.JOINING
            lost = "" if value is server.value else f" without its last writes ({value.name.lower()})"
            yield f"{name} restarts as {role}{lost}", _with_server(state, number, Server(role, value, server.leader))
        return
    yield f"{name} crashes", _without_primary(_with_server(state, number, server._replace(role=Role.DOWN)), number)
    for leader, other in enumerate(state.servers):
        if other.role is Role.PRIMARY and leader not in (number, server.leader):
            follower = Server(Role.JOINING, server.value, leader)
            yield (
                f"{name} is told to follow {_server_name(leader)}",
                _without_primary(_with_server(state, number, follower), number),
            )
    if server.role is Role.PRIMARY:
        return
    if state.servers[server.leader].role is Role.PRIMARY:
        yield from _replicate(state, setup, number, name)
    if _may_lead(state, setup, server.value):
        yield (
            f"{name} is promoted ({server.value.name.lower()})",
            _with_server(state, number, Server(Role.PRIMARY, server.value, number)),
        )


def _may_lead(state: State, setup: Setup, value: Value) -> bool:
    """Return True if the setup lets a server with `value` become a primary."""
    is_single = all(server.role is not Role.PRIMARY for server in state.servers)
    is_in_step = value >= max(server.value for server in state.servers)
    return (is_single or setup.has_two_primaries) and (is_in_step or setup.has_lagging_primary)


def _replicate(state: State, setup: Setup, number: int, name: str) -> Steps:
    server = state.servers[number]
    primary = state.servers[server.leader]
    if server.role is Role.JOINING:
        yield (
            f"{name} copies the data set of {_server_name(server.leader)}",
            _with_server(state, number, Server(Role.REPLICA, primary.value, server.leader)),
        )
    elif server.value < primary.value:
        has_issue = not setup.remembers_documents and state.clock < Clock.UNUSED_FORGOTTEN
        value = Value(server.value + 1) if has_issue else primary.value
        yield f"{name} gets the write: {value.name.lower()}", _with_server(state, number, server._replace(value=value))


def _without_primary(state: State, number: int) -> State:
    """Return the state after `number` crashed or has to follow: a WAIT ends, and replicas have to copy again.

    A command under way to a server that lives may still arrive, perhaps after the server became a primary again.
    """
    is_down = state.servers[number].role is Role.DOWN
    lost = _CONNECTED if is_down else frozenset({Step.FIRST})
    posts = tuple(_OVER if post.server == number and post.step in lost else post for post in state.posts)
    servers = tuple(
        server._replace(role=Role.JOINING) if server.role is Role.REPLICA and server.leader == number else server
        for server in state.servers
    )
    return state._replace(posts=posts, servers=servers)


def _after_restart(value: Value, clock: Clock, setup: Setup) -> Value:
    if setup.restart is Restart.EMPTY:
        return Value.ABSENT
    if setup.restart is Restart.OLDER and value is Value.USED:
        has_issue = not setup.remembers_documents and clock < Clock.UNUSED_FORGOTTEN
        return Value.UNUSED if has_issue else Value.ABSENT
    return value


def _pass_time(state: State, setup: Setup) -> Steps:
    """Move the clocks on. A request ends long before the store forgets a mark (ADR 0021, ADR 0033)."""
    if state.clock is Clock.USED_FORGOTTEN or not setup.time_passes:
        return
    clock = Clock(state.clock + 1)
    if clock is Clock.USED_FORGOTTEN and any(post.step in _LISTENING for post in state.posts):
        return
    limit = Value.ABSENT
    if clock is Clock.USED_FORGOTTEN or (clock is Clock.UNUSED_FORGOTTEN and setup.forgets_early):
        limit = Value.USED
    elif clock >= Clock.UNUSED_FORGOTTEN:
        limit = Value.UNUSED
    servers = tuple(
        server._replace(value=Value.ABSENT) if server.value <= limit else server for server in state.servers
    )
    yield f"time passes: {clock.name.lower().replace('_', ' ')}", State(servers, state.posts, clock)


def _with_post(state: State, number: int, post: Post) -> State:
    return state._replace(posts=(*state.posts[:number], post, *state.posts[number + 1 :]))


def _with_server(state: State, number: int, server: Server) -> State:
    return state._replace(servers=(*state.servers[:number], server, *state.servers[number + 1 :]))


def _canonical(state: State) -> State:
    """Return the same state for every order of the posts, which differ in nothing."""
    return State(state.servers, tuple(sorted(state.posts)), state.clock)


def _history(end: State, parents: dict[State, State | None], setup: Setup) -> tuple[str, ...]:
    """Return the events from the start to `end`, with each post under one number."""
    path = []
    at: State | None = end
    while at is not None:
        path.append(at)
        at = parents[at]
    current, events = path.pop(), []
    while path:
        goal = path.pop()
        event, current = next(found for found in steps(current, setup) if _canonical(found[1]) == goal)
        events.append(event)
    return tuple(events)


def _server_name(number: int) -> str:
    return "ABC"[number]
