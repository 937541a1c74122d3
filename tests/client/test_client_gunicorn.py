"""The synchronous client works where its users run it: under Django, in threads of gunicorn's workers."""

from concurrent.futures import ThreadPoolExecutor

from tests.client.elsewhere import Elsewhere
from tests.client.gunicorn_site import WORKERS, serving_site


def test_a_thousand_requests_in_threads_of_forked_workers_are_answered_and_leave_nothing_open(
    elsewhere: Elsewhere,
):
    users = [f"user-{place}" for place in range(1000)]
    with serving_site(elsewhere.target) as site:
        with ThreadPoolExecutor(16) as threads:
            pages = list(threads.map(site.get, users))
        assert {page for page, _ in pages} == {"a"}
        assert elsewhere.relay.opened <= WORKERS, "a worker has one connection, however many threads call"
        written = site.end()
    assert "Traceback" not in written and "recstream" not in written, written
    elsewhere.closed()
    asked = [request.user_id for request in elsewhere.server.requests("Recommend")]
    assert sorted(asked) == sorted(["first", *users])
