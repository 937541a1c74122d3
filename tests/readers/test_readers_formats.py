"""Files of known data sets are read without options."""

import json
from pathlib import Path

import pytest

from readers.errors import UnreadableFile
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.messages import interaction_message
from readers.report import Report
from readers.tables.text import Layout

T0 = 1_700_000_000


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(
    *paths: Path, format_name: str | None = None, options: InteractionOptions | None = None
) -> Interactions:
    return read_interactions(paths, options, format_name)[0]


def report(*paths: Path) -> Report:
    return read_interactions(paths)[1][-1]


def rows(table: Interactions) -> list[tuple[str, str, str]]:
    return list(zip(table.user_ids, table.item_ids, table.actions, strict=True))


def test_movielens_of_every_size(tmp_path: Path) -> None:
    one = write(tmp_path, "ratings.dat", f"1::10::5::{T0}\r\n1::11::3.5::{T0 + 1}\r\n\r\n")
    hundred = write(tmp_path, "u.data", f"1\t10\t5\t{T0}\n1\t11\t3\t{T0 + 1}\n")
    latest = write(tmp_path, "ratings.csv", f"userId,movieId,rating,timestamp\n1,10,0.5,{T0}\n1,11,7,{T0}\n")
    assert report(one).format == report(hundred).format == report(latest).format == "movielens"
    assert rows(read(one)) == rows(read(hundred)) == [("1", "10", "rate"), ("1", "11", "rate")]
    assert read(one).values.tolist() == [5, 3.5]
    assert read(latest).values.tolist() == [0.5], "half stars are kept, and 7 is not a rating"
    assert "value outside 0.5 to 5" in report(latest).findings


def test_reviews_of_2014_and_of_2023(tmp_path: Path) -> None:
    old = [
        {"reviewerID": "A1", "asin": "0001", "overall": stars, "reviewText": "x", "unixReviewTime": T0}
        for stars in (5.0, 5.0, 5.0, 0.0, 6, None, "", 4.0)
    ]
    new = {"user_id": "A1", "parent_asin": "0002", "asin": "0003", "rating": 4.0, "timestamp": T0 * 1000}
    first = write(tmp_path, "old.json", "\n".join(map(json.dumps, old)))
    second = write(tmp_path, "new.jsonl", json.dumps(new) + "\n")
    assert rows(read(second)) == [("A1", "0002", "rate")] and read(second).time_ms.tolist() == [T0 * 1000]
    assert report(first).format == report(second).format == "reviews"
    found = {kind: finding.rows for kind, finding in report(first).findings.items()}
    assert found == {"duplicate": 2, "value outside 1 to 5": 2, "value missing or not a number": 2}
    assert sorted(read(first).values.tolist()) == [4, 5], "a second rating of the same item is another event"


def test_python_dictionaries_of_old_review_files_are_read(tmp_path: Path) -> None:
    line = f"{{'reviewerID': 'A1', 'asin': '01', 'overall': 5.0, 'unixReviewTime': {T0}}}\n"
    assert rows(read(write(tmp_path, "old.json", line))) == [("A1", "01", "rate")]


def test_clicks_and_purchases_are_merged_by_time_with_sessions_as_users(tmp_path: Path) -> None:
    clicks = write(
        tmp_path,
        "yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0\n"
        "1,2014-04-07T10:54:09.868Z,214536500,S\n"
        "1,2014-04-07T10:54:09.868Z,214536502,3\n"
        "2,2014-04-07T10:54:46.998Z,214536502,2089046723\n",
    )
    buys = write(tmp_path, "yoochoose-buys.dat", "1,2014-04-07T10:53:00.000Z,214536502,0,0\n")
    read_rows, reports = read_interactions([clicks, buys])
    assert [r.format for r in reports] == ["sessions", "sessions"]
    assert [(u, a) for u, _, a in rows(read_rows)] == [
        ("1", "click"),
        ("1", "purchase"),
        ("1", "click"),
        ("1", "click"),
        ("2", "click"),
    ]
    assert read_rows.time_ms[0] == 1396867869277
    with pytest.raises(UnreadableFile, match="line 1: 3 fields; clicks have 4"):
        read(write(tmp_path, "bad.dat", "1,2014-04-07T10:51:09.277Z,214536502\n"), format_name="sessions")


def test_retailrocket_events_get_the_usual_names_of_actions(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n"
        f"{T0}000,7,view,5,\n{T0}001,7,addtocart,5,\n{T0}002,7,transaction,5,99\n",
    )
    assert [action for _, _, action in rows(read(path))] == ["view", "cart", "purchase"]
    assert report(path).format == "retailrocket"


def test_the_items_of_a_basket_share_its_time(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "transactions.csv",
        "household_id,basket_id,product_id,transaction_timestamp\n"
        "900,1,0095,2017-01-01 11:53:26\n900,1,0096,2017-01-01 11:53:40\n900,2,0097,2017-01-02 10:00:00\n",
    )
    table = read(path)
    assert {u for u, _, _ in rows(table)} == {"900"} and set(table.actions) == {"purchase"}
    assert table.time_ms[0] == table.time_ms[1] < table.time_ms[2]
    assert "0095" in table.item_ids
    notes = report(path).notes
    assert any("1 rows got the first timestamp of their order" in note for note in notes)
    assert any("2 events share user and timestamp with another" in note for note in notes)


def test_instacart_orders_give_their_items_a_user_and_a_time(tmp_path: Path) -> None:
    orders = write(
        tmp_path,
        "orders.csv",
        "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order\n"
        "12,1,prior,2,3,07,15.0\n11,1,prior,1,2,08,\n21,2,prior,1,2,08,\n",
    )
    items = write(
        tmp_path,
        "order_products__prior.csv",
        "order_id,product_id,add_to_cart_order,reordered\n12,196,1,0\n11,14084,1,0\n21,5,1,0\n99,6,1,0\n",
    )
    table, reports = read_interactions([orders, items])
    assert [r.format for r in reports] == ["baskets", "baskets"]
    assert sorted(u for u in table.user_ids) == ["1", "1", "2"]
    assert [i for u, i, _ in rows(table) if u == "1"] == ["14084", "196"]
    assert not table.timed, "days since a user's first order cannot be compared between users"
    assert reports[1].findings["user missing"].lines == [5], "an order without a user"
    with pytest.raises(UnreadableFile, match="orders without a time.*file of orders"):
        read(items)


def test_a_mind_history_is_read_once_and_precedes_the_clicks(tmp_path: Path) -> None:
    history = " ".join(f"H{n}" for n in range(20))
    path = write(
        tmp_path,
        "behaviors.tsv",
        f"1\tU1\t11/15/2019 8:55:22 AM\t{history}\tN123-0 N456-1\n"
        f"2\tU1\t11/14/2019 1:00:00 PM\t{history}\tN7-1\n"
        f"3\tU1\t11/15/2019 9:00:00 AM\t{history}\tN8-0 N9-1\n"
        "4\tU2\t11/15/2019 9:00:00 AM\t\tN8-1\n",
    )
    table = read(path)
    mine = [(i, a) for u, i, a in rows(table) if u == "U1"]
    assert [i for i, _ in mine[:20]] == history.split(), "before all other events, in its order"
    assert {a for _, a in mine[:20]} == {"click"}
    assert sorted(mine[20:]) == sorted(
        [("N7", "click"), ("N456", "click"), ("N123", "impression"), ("N8", "impression"), ("N9", "click")]
    )
    assert [(i, a) for u, i, a in rows(table) if u == "U2"] == [("N8", "click")]
    sent = [interaction_message(table, row, "news") for row in range(len(table))]
    seen = [list(each.impression.item_ids) for each in sent if each.HasField("impression")]
    assert sorted(seen) == [["N123"], ["N8"]]
    assert all(each.event_id and each.HasField("event_time") for each in sent)
    assert all(each.HasField("impression") != bool(each.item_id and each.action) for each in sent)


def test_a_mind_file_without_labels_or_with_a_missing_column_is_reported(tmp_path: Path) -> None:
    four = write(tmp_path, "old.tsv", "U1\t11/15/2019 8:55:22 AM\tH1\tN1-1\n")
    assert [i for _, i, _ in rows(read(four))] == ["H1", "N1"]
    mixed = write(tmp_path, "mixed.tsv", f"1\t{four.read_text()}{four.read_text()}")
    with pytest.raises(UnreadableFile, match="line 2: 4 fields where 5 were expected"):
        read(mixed)
    unlabelled = write(tmp_path, "test.tsv", "1\tU1\t11/15/2019 8:55:22 AM\tH1\tN1 N2\n")
    assert rows(read(unlabelled)) == [("U1", "H1", "click")]
    finding = report(unlabelled).findings["impressions without click labels"]
    assert finding.rows == 1 and "unusable for metrics" in finding.done


def test_sequences_keep_each_users_order_and_are_not_timed(tmp_path: Path) -> None:
    path = write(tmp_path, "Toys.txt", "007 5 4 3\n8 4\n9\n\n10 1 2 1 9 8\r\n")
    table, (said,) = read_interactions([path])
    assert said.format == "sequences" and not table.timed
    by_user = {user: [i for u, i, _ in rows(table) if u == user] for user in ("007", "8", "10")}
    assert by_user == {"007": ["5", "4", "3"], "8": ["4"], "10": ["1", "2", "1", "9", "8"]}
    assert said.findings["user without items"].lines == [3]
    assert not table.split(0.5)[0].timed
    again = write(tmp_path, "again.txt", "1 5 4 3\n2 7\n1 8\n")
    assert [i for u, i, _ in rows(read(again)) if u == "1"] == ["5", "4", "3", "8"]


def test_options_override_the_detected_format(tmp_path: Path) -> None:
    path = write(tmp_path, "e.txt", f"9|A|{T0}\n9|B|{T0 + 1}\n")
    options = InteractionOptions(Layout("|", columns=("user", "item", "time")))
    assert [i for _, i, _ in rows(read(path, options=options))] == ["A", "B"]
    with pytest.raises(UnreadableFile, match="no format 'csv'; use one of events, movielens"):
        read(path, format_name="csv")


def test_files_may_be_gzipped(tmp_path: Path) -> None:
    import gzip

    line = json.dumps({"user_id": "a", "parent_asin": "b", "rating": 5, "timestamp": T0})
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    assert rows(read(tmp_path / "r.jsonl.gz")) == [("a", "b", "rate")]
    (tmp_path / "bad.csv.gz").write_bytes(gzip.compress(line.encode())[:-20])
    with pytest.raises(UnreadableFile, match="damaged gzip"):
        read(tmp_path / "bad.csv.gz")


def test_sessions_with_a_header_are_users_even_beside_user_ids(tmp_path: Path) -> None:
    path = write(
        tmp_path, "s.csv", f"session_id,user_id,item_id,timestamp\ns1,ann,A,{T0}\ns2,ann,B,{T0 + 9}\n"
    )
    assert [u for u, _, _ in rows(read(path))] == ["ann", "ann"]
    assert [u for u, _, _ in rows(read(path, format_name="sessions"))] == ["s1", "s2"]
