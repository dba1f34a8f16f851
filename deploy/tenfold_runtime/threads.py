"""Where user code runs.

Plain functions in threads, coroutines on an event loop of their own. The worker's own loop is never in their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import inspect
import os
import queue
import threading
from collections import deque
from typing import Any, Awaitable, Callable, Deque, List, Optional, Type

from tenfold_runtime import streams
from tenfold_runtime.faults import Fault, trimmed_traceback

_IDLE_SECONDS = 60.0
_LAST_SECONDS = 1.0


class Interrupted(BaseException):
    """Thrown into a thread whose caller has gone.

    Not an Exception, so that `except Exception` in user code does not stop it.
    """


class Job:
    """One function on its way through a thread."""

    def __init__(self, function: Callable[[], Any], finish: Callable[[Any, Optional[BaseException]], None]) -> None:
        self._function = function
        self._finish = finish
        self._lock = threading.Lock()
        self._thread: Optional[int] = None
        self._begun = False
        self._over = False
        self._interrupted = False
        self._value: Any = None
        self._failure: Optional[BaseException] = None
        self._context = streams.fresh_context()

    def run(self, ending: Callable[[], None]) -> None:
        """`ending` is called when the function is over, just before its result is told."""
        while not self._over:  # an interruption may arrive at any line below, also after the function has ended
            try:
                if not self._begun:
                    self._begun = True
                    self._execute()
                with self._lock:
                    if self._interrupted:
                        _throw(self._thread, None)
                    self._over = True
            except BaseException as error:
                self._failure = error
        ending()
        self._finish(self._value, self._failure)

    def _execute(self) -> None:
        process = os.getpid()
        with self._lock:
            if self._interrupted:
                raise Interrupted
            self._thread = threading.get_ident()
        try:
            self._value = self._context.run(self._function)
        finally:
            if os.getpid() != process:
                os._exit(0)  # the function forked, and this is the child coming home: nothing here is its business

    def interrupt(self) -> None:
        """Makes the function stop at its next line of Python, or never start."""
        with self._lock:
            if self._over:
                return
            self._interrupted = True
            _throw(self._thread, Interrupted)


def start_thread(target: Callable[..., Any], *arguments: Any, name: str) -> None:
    """Starts a daemon thread. Raises Fault `worker_error` when the system gives none."""
    try:
        threading.Thread(target=target, args=arguments, name=name, daemon=True).start()
    except (RuntimeError, MemoryError) as error:
        raise Fault(
            "worker_error",
            f"The worker cannot start a thread: {error}.",
            status=503,
            hint="The model's own threads and processes count too: let it start fewer of them.",
        ) from None


def _throw(thread: Optional[int], kind: Optional[Type[BaseException]]) -> None:
    """Makes an exception rise in another thread, or (with None) takes back one that has not risen yet."""
    if thread is not None:
        what = None if kind is None else ctypes.py_object(kind)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


class Threads:
    """Runs functions in daemon threads, which are made when needed and kept for a minute.

    Used from one event loop only, and in the context that it is made in.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, limit: int) -> None:
        self._loop = loop
        self._room = asyncio.Semaphore(limit)
        self._jobs: "queue.SimpleQueue[Optional[Job]]" = queue.SimpleQueue()
        self._idle = 0
        self._is_closed = False
        self._lock = threading.Lock()
        self._context = contextvars.copy_context()

    async def run(
        self, function: Callable[[], Any], *, ended: Optional[Callable[[], None]] = None, patience_seconds: float = 0.0
    ) -> Any:
        """What the function returns or raises.

        When the awaiting task is cancelled it stops waiting at once and the function is interrupted, or left alone
        for the patience it is given.

        `ended` is called on the loop when the function is really over, which for an interrupted one may be later, or
        never.
        """
        try:
            await self._room.acquire()
        except BaseException:
            if ended is not None:
                ended()
            raise
        result: "asyncio.Future[Any]" = self._loop.create_future()

        def settle(value: Any, failure: Optional[BaseException]) -> None:
            self._room.release()
            if ended is not None:
                ended()
            if result.done():
                return
            if failure is None:
                result.set_result(value)
            else:
                result.set_exception(_raisable(failure))

        try:
            job = self.begin(function, settle)
        except BaseException:
            settle(None, None)
            raise
        try:
            return await result
        except asyncio.CancelledError:
            if patience_seconds:
                self._loop.call_later(patience_seconds, job.interrupt)
            else:
                job.interrupt()
            raise

    def begin(self, function: Callable[[], Any], finished: Callable[[Any, Optional[BaseException]], None]) -> Job:
        """Starts the function at once, whatever the limit. Raises Fault `worker_error` when no thread can be had.

        `finished` is called on the loop with what it returned or raised, when it is really over.
        """

        def finish(value: Any, failure: Optional[BaseException]) -> None:
            self._loop.call_soon_threadsafe(finished, value, failure, context=self._context)

        job = Job(function, finish)
        self._start(job)
        return job

    def close(self) -> None:
        """Threads without work end, and the others after it."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._jobs.put(None)

    def _start(self, job: Job) -> None:
        with self._lock:
            needs_thread = self._idle == 0
            if not needs_thread:
                self._idle -= 1
        if needs_thread:
            start_thread(self._work, job, name="tenfold-user")
        else:
            self._jobs.put(job)

    def _becomes_idle(self) -> None:
        """Before the result is told: a caller who answers it with the next job finds this thread, still warm."""
        with self._lock:
            self._idle += not self._is_closed

    def _work(self, job: Optional[Job]) -> None:
        while job is not None:
            job.run(self._becomes_idle)
            if self._is_closed:
                return
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                job = self._jobs.get()  # one was promised to this thread a moment ago


class Slots:
    """So many may work at a time; the others wait in the order in which they came. Used from one event loop only."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0
        self._waiting: Deque[Callable[[], None]] = deque()

    def take(self, granted: Callable[[], None]) -> None:
        """Calls `granted` when there is a slot, which may be at once. It is taken from then until `release`."""
        if self._waiting or self.taken >= self.number:
            self._waiting.append(granted)
            return
        self.taken += 1
        granted()

    async def acquire(self) -> None:
        future: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()

        def granted() -> None:
            if future.done():  # its waiter was cancelled in this turn of the loop: `release`, which calls, goes on
                self.taken -= 1
            else:
                future.set_result(None)

        self.take(granted)
        try:
            await future
        except asyncio.CancelledError:
            if granted in self._waiting:
                self._waiting.remove(granted)
            elif not future.cancelled():
                self.release()
            raise

    def release(self) -> None:
        self.taken -= 1
        while self._waiting and self.taken < self.number:
            self.taken += 1
            self._waiting.popleft()()


class UserLoop:
    """An event loop in a thread of its own for user coroutines, so that one that blocks disturbs no health check."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._home = loop
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._closed = threading.Event()

    async def run(
        self,
        function: Callable[[], Awaitable[Any]],
        *,
        ended: Optional[Callable[[], None]] = None,
        patience_seconds: float = 0.0,
    ) -> Any:
        """What the coroutine returns or raises.

        Cancelling the awaiting task cancels the coroutine, or leaves it alone for the patience it is given.

        `ended` is called on the home loop when the coroutine is really over. asyncio.run_coroutine_threadsafe
        would not tell: cancelled early enough, the coroutine never begins and so never ends either.
        """
        try:
            loop = self._started()
        except BaseException:
            if ended is not None:
                ended()
            raise
        result: "asyncio.Future[Any]" = self._home.create_future()
        tasks: List["asyncio.Task[Any]"] = []

        async def body() -> Any:
            try:
                return None, await function()
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # SystemExit out of a task would end the loop for everybody
                return error, None

        def begin() -> None:
            tasks.append(loop.create_task(body()))
            tasks[0].add_done_callback(lambda task: self._home.call_soon_threadsafe(settle, task))

        def settle(task: "asyncio.Task[Any]") -> None:
            if ended is not None:
                ended()
            if result.done():
                return
            if task.cancelled():  # by itself: nobody here asked for it
                message = "CancelledError: the coroutine was cancelled by the code that it runs."
                result.set_exception(Fault("user_error", message, source="user"))
                return
            failure, value = task.result()
            if failure is None:
                result.set_result(value)
            else:
                result.set_exception(_raisable(failure))

        loop.call_soon_threadsafe(begin)
        try:
            return await result
        except asyncio.CancelledError:
            self._home.call_later(patience_seconds, _cancel_on, loop, tasks)
            raise

    def close(self) -> None:
        """Cancels what runs in it, and ends its thread as soon as that lets it."""
        self._closed.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = asyncio.new_event_loop()
            try:
                start_thread(_run_until, self._closed, loop, name="tenfold-user-loop")
            except Fault:
                loop.close()
                raise
            self._loop = loop
        return self._loop


_kept: "set[asyncio.Future[Any]]" = set()


def keep(task: "asyncio.Future[Any]") -> None:
    """Lets a task of user code go on after its answer; its failure goes to the log.

    A loop by itself keeps only weak references to its tasks.
    """

    def ended(task: "asyncio.Future[Any]") -> None:
        _kept.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            streams.report(trimmed_traceback(failure))

    _kept.add(task)
    task.add_done_callback(ended)


def _cancel_on(loop: asyncio.AbstractEventLoop, tasks: List["asyncio.Task[Any]"]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile, and has cancelled them
        loop.call_soon_threadsafe(_cancel, tasks)


def _cancel(tasks: List["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()


def _raisable(failure: BaseException) -> BaseException:
    """A future refuses to carry StopIteration."""
    return RuntimeError(f"StopIteration: {failure}") if isinstance(failure, StopIteration) else failure


def _run_until(closed: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while not closed.is_set():
        try:
            loop.run_forever()
        except BaseException:  # a task of the user's own raised SystemExit; the loop itself is sound
            continue
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(BaseException):
        loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_SECONDS) if tasks else asyncio.sleep(0))
    loop.close()


def is_async(function: Any) -> bool:
    """Whether calling the function must happen on an event loop."""
    target = function if inspect.isroutine(function) or not callable(function) else type(function).__call__
    return inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)
