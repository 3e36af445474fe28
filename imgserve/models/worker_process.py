"""The worker's side: ``python -m imgserve.models.worker_process FD...``, started by ``Worker``.

The first descriptor is the control connection, each of the others a slot, which is served by a
thread of its own. The process ends when the backend's end of the control connection closes.
"""

import logging.config
import mmap
import os
import resource
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from imgserve.errors import DamagedPicture, HttpError, ImgserveError, WorkerLost
from imgserve.log import logging_config
from imgserve.machine import give_back_large_blocks
from imgserve.models.classifier import LIMIT_S, Classifier
from imgserve.models.worker import ENCODER, JOBS, Job, Loaded, Rejected, Result
from imgserve.settings import BackendSettings
from imgserve.units import MIB

log = logging.getLogger("imgserve.worker")

# What decoding the largest picture may take, beside the loaded model: a picture of four bytes a
# pixel, and up to three copies of it while it is turned, blended or converted.
BYTES_A_PIXEL = 16
BYTES_A_SLOT = 64 * MIB  # the file, the resized picture and what inference needs
KEPT_BYTES = 16 * MIB  # of the heap, a usual picture's: the next one need not ask the system
OUT_OF_MEMORY = 12  # exit status; the number of ENOMEM


def main(load: Callable[[BackendSettings, str], Classifier]) -> int:
    """Load the model that the backend names, then classify until it ends; return the status.

    ``load`` returns a model by its id, warm; an ImgserveError is told to the backend.
    """
    give_back_large_blocks(KEPT_BYTES, KEPT_BYTES, heaps=1)  # one for each thread wastes memory
    control, *slots = (Connection(int(number)) for number in sys.argv[1:])
    model_id, settings = control.recv()
    logging.config.dictConfig(logging_config(settings.log_level))
    _silence_libraries()
    with suppress(OSError):  # another system than Linux
        # Where the container's memory runs out, this process ends first, not the backend.
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        classifier = load(settings, model_id)
    except ImgserveError as exc:
        with suppress(OSError):  # the backend has ended
            control.send_bytes(ENCODER.encode(Rejected(str(exc))))
        return 1
    limit_growth(len(slots) * (BYTES_A_SLOT + BYTES_A_PIXEL * settings.max_image_pixels))
    with suppress(OSError, EOFError):  # likewise
        for slot in slots:
            threading.Thread(target=_serve, args=(slot, classifier, settings), daemon=True).start()
        loaded = Loaded(classifier.precision, len(classifier.categories))
        control.send_bytes(ENCODER.encode(loaded))
        control.recv_bytes()  # nothing comes: the wait ends with the backend
    return 0


def _serve(slot: Connection, classifier: Classifier, settings: BackendSettings) -> None:
    with suppress(OSError, EOFError):  # the backend has ended
        while True:
            answer = _answer(JOBS.decode(slot.recv_bytes()), classifier, settings)
            slot.send_bytes(ENCODER.encode(answer))
            if isinstance(answer, Rejected) and answer.slug == WorkerLost.slug:
                os._exit(OUT_OF_MEMORY)  # what could not be allocated may have left holes


def _answer(job: Job, classifier: Classifier, settings: BackendSettings) -> Result | Rejected:
    try:
        return classifier.classify(
            job.data,
            job,
            limit_pixels=settings.max_image_pixels,
            explain_s=min(LIMIT_S, settings.predict_timeout_s / 3),  # it ends at twice that
        )
    except HttpError as exc:
        if not (isinstance(exc, DamagedPicture) and _is_memory_short(exc, settings)):
            return Rejected(str(exc), exc.slug)
    except MemoryError:
        pass
    except Exception:
        log.exception("a picture could not be classified")
        return Rejected("a picture could not be classified: an entry above says why")
    log.error("a picture needs more memory than a worker may use")
    detail = "this picture needs more memory than a worker may use: send a smaller one"
    return Rejected(detail, WorkerLost.slug)


def _is_memory_short(exc: DamagedPicture, settings: BackendSettings) -> bool:
    """Return whether half of what the largest picture may take cannot be had.

    Where they get no memory, decoders say that the data is damaged. The other half may be in the
    heap, for the next picture.
    """
    for error in (exc, exc.__cause__):
        traceback.clear_frames(error.__traceback__ if error else None)  # they hold the picture
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        mmap.mmap(-1, BYTES_A_PIXEL * settings.max_image_pixels // 2, flags=flags).close()
        return False
    except OSError:
        return True


def _silence_libraries() -> None:
    """Keep Python's own errors, and let go what libraries write about broken pictures.

    libtiff has a line for each row that it cannot decode, Pillow a warning for each tag that is too
    long (13 MB for a file of 700 kB), and none of them is JSON.
    """
    warnings.simplefilter("ignore")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)


def limit_growth(growth_bytes: int) -> None:
    """Refuse this process more memory than it has now and so many bytes beyond.

    Linux alone counts what a process may write to towards this limit (getrlimit(2), RLIMIT_DATA).
    """
    with suppress(OSError, ValueError):  # another system, or a lower limit from outside
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limit = pages * resource.getpagesize() + growth_bytes
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


if __name__ == "__main__":
    from imgserve.models.openvino_engine import load  # here: another engine does without it

    sys.exit(main(load))
