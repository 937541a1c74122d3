"""Item files in the forms that users have."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.items import item_check
from catalog.items.items import check, from_proto
from readers.errors import UnreadableFile
from readers.items import item_limits
from readers.items.item_cells import Image
from readers.items.item_files import read_items
from readers.items.items import ItemOptions, ItemRow
from readers.tables.text import Layout
from recstream.v1 import item_pb2


def test_quoted_commas_genre_lists_and_sentinels(tmp_path: Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_text(
        "movieId,title,genres\n"
        '11,"American President, The (1995)",Comedy|Drama|Romance\n'
        "12,Solo,(no genres listed)\n"
        ",Nobody,Drama\n"
        "13,,Drama\n"
        "11,The American President (1995),Comedy\n"
    )
    rows, (report,) = read_items([path], ItemOptions(domain="film"))
    by_id = {row.item.item_id: row.item for row in rows}
    assert list(by_id["11"].categories) == ["Comedy"] and by_id["11"].title == "The American President (1995)"
    assert list(by_id["12"].categories) == []
    assert by_id["13"].title == "" and by_id["13"].domain == "film"
    assert {kind: f.lines for kind, f in report.findings.items()} == {
        "item missing": [4],
        "item repeated": [6],
        "title missing": [5],
    }


def test_numbers_attributes_and_lists_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"asin": "B0", "title": "Tea", "description": ["green", "loose"], "price": 4.5, "brand": "Acme"}\n'
    )
    (row,), _ = read_items([path])
    item = row.item
    assert attributes(item) == {"price": [4.5], "brand": ["Acme"]} and item.description == "green loose"


def attributes(item: item_pb2.Item) -> dict[str, list[str] | list[float]]:
    """The item's attributes as Python values."""
    return {name: list(found.texts) or list(found.numbers) for name, found in item.attributes.items()}


def test_several_values_from_lists_and_from_one_cell(tmp_path: Path) -> None:
    table = {"item_id": ["1"], "colors": [["red", "blue", "red"]], "year": [[1997, None, 2001]]}
    pq.write_table(pa.table(table), tmp_path / "items.parquet")
    (tmp_path / "items.csv").write_text("item_id,colors,year\n1,red| blue|red,1997|2001\n")
    for name, separator in (("items.parquet", None), ("items.csv", "|")):
        [row] = items_of(tmp_path / name, options=ItemOptions(value_separator=separator)).values()
        assert attributes(row.item) == {"colors": ["red", "blue"], "year": [1997, 2001]}
    [whole] = items_of(tmp_path / "items.csv").values()
    assert attributes(whole.item)["colors"] == ["red| blue|red"], "without a separator, a cell is one text"


def test_a_truth_value_is_the_same_text_in_each_format(tmp_path: Path) -> None:
    rows = [{"itemId": "a", "in_stock": True, "grade": math.nan}, {"itemId": "b", "in_stock": False}]
    (tmp_path / "items.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "items.csv").write_text("itemId,in_stock\na,true\nb,false\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    for name in ("items.jsonl", "items.csv", "items.parquet"):
        found = items_of(tmp_path / name)
        assert attributes(found["a"].item) == {"in_stock": ["true"]}, name
        assert attributes(found["b"].item) == {"in_stock": ["false"]}, name


def test_a_column_of_numbers_is_not_mixed_with_texts_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id": "1", "price": 3, "details": {"price": "three"}}\n')
    assert attributes(items_of(path)["1"].item) == {"price": [3]}


def test_attributes_past_their_size_are_cut_to_what_the_catalogue_takes(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    many = {f"a{n:03}": ["x" * 1000 + str(value) for value in range(3)] for n in range(200)}
    path.write_text(json.dumps({"item_id": "1", "title": "t", "tags": [str(n) for n in range(90)], **many}))
    [row], [report] = read_items([path])
    assert check(row.item) == [] and len(row.item.attributes) > 40
    assert "attributes past the limit" in report.findings


def items_of(*paths: Path, options: ItemOptions | None = None) -> dict[str, ItemRow]:
    return {row.item.item_id: row for row in read_items(paths, options)[0]}


def test_movielens_titles_in_either_encoding_with_colons_in_them(tmp_path: Path) -> None:
    films = "1::Ámame (1999)::Drama\r\n2::Alien: Resurrection (1997)::Action|Horror\r\n\r\n"
    for encoding in ("latin-1", "utf-8"):
        path = tmp_path / f"movies-{encoding}.dat"
        path.write_bytes(films.encode(encoding))
        found = items_of(path)
        assert found["1"].item.title == "Ámame (1999)"
        assert list(found["2"].item.categories) == ["Action", "Horror"]
    with pytest.raises(UnreadableFile, match="line 1: not utf-8.*--encoding latin-1"):
        read_items([tmp_path / "movies-latin-1.dat"], ItemOptions(Layout(encoding="utf-8")))


def test_genres_as_columns_of_flags(tmp_path: Path) -> None:
    flags = ["0"] * 19
    flags[3] = flags[4] = "1"
    line = "|".join(["1", "Toy Story (1995)", "01-Jan-1995", "", "http://imdb", *flags])
    (tmp_path / "u.item").write_bytes(line.encode() + b"\n")
    item = items_of(tmp_path / "u.item")["1"].item
    assert list(item.categories) == ["Animation", "Children's"]
    assert attributes(item) == {"release_date": ["01-Jan-1995"]}


def test_markup_is_decoded_once_and_dropped_where_text_is_used(tmp_path: Path) -> None:
    rows = [
        {"asin": "1", "title": "Tom &amp; Jerry", "description": ["<p>cat</p>", "mouse"]},
        {"asin": "2", "title": "Tom & Jerry", "description": "cat mouse"},
        {"asin": "3", "title": "&amp;lt;b&amp;gt;", "description": None},
        {"asin": "4", "title": "a<br>b", "description": []},
    ]
    path = tmp_path / "meta.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = {key: from_proto(row.item) for key, row in items_of(path).items()}
    assert found["1"].text(()) == found["2"].text(()) == "Tom & Jerry. cat mouse"
    assert found["1"].content_hash(()) == found["2"].content_hash(())
    assert found["3"].text(()) == "&lt;b&gt;" and found["4"].text(()) == "a b"


def test_fields_past_a_limit_are_truncated_and_counted(tmp_path: Path) -> None:
    row = {
        "item_id": "1",
        "title": "é" * 5000,
        "description": "ü" * 100_000,
        "categories": [f"c{n}" for n in range(80)],
        "brand": "b" * 5000,
        "price": "NaN",
    }
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join([json.dumps(row), json.dumps({"item_id": "x" * 300})]))
    (one,), (report,) = read_items([path])
    assert check(one.item) == [] and "price" not in one.item.attributes
    assert one.item.description == "ü" * 16_384 and len(one.item.categories) == 64
    cut = {kind for kind, finding in report.findings.items() if finding.done == "cut"}
    assert cut == {f"{what} past the limit" for what in ("title", "description", "categories", "attributes")}
    assert report.findings["item id past 256 bytes"].lines == [2]


def test_the_limits_are_those_of_the_catalogue() -> None:
    for name in (
        "MAX_ID_BYTES",
        "MAX_TITLE_BYTES",
        "MAX_DESCRIPTION_BYTES",
        "MAX_NAME_BYTES",
        "MAX_VALUE_BYTES",
        "MAX_CATEGORIES",
        "MAX_ATTRIBUTES",
        "MAX_VALUES",
        "MAX_ATTRIBUTES_BYTES",
    ):
        assert getattr(item_limits, name) == getattr(item_check, name)


def test_amazon_metadata_of_2023_without_behaviour_columns(tmp_path: Path) -> None:
    row = {
        "parent_asin": "B0",
        "main_category": "Toys",
        "title": "Blocks",
        "average_rating": 4.6,
        "rating_number": 1234,
        "features": ["wood", "safe"],
        "description": [],
        "price": "$1,012.99",
        "images": [{"thumb": "http://t", "large": "http://l", "variant": "MAIN", "hi_res": None}],
        "categories": ["Toys", "Building"],
        "details": {"Brand": "Acme", "Best Sellers Rank": {"Toys": 3}},
        "bought_together": None,
    }
    path = tmp_path / "meta.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    (one,), (report,) = read_items([path])
    assert list(one.item.categories) == ["Toys", "Building"]
    assert attributes(one.item) == {"features": ["wood", "safe"], "Brand": ["Acme"], "price": [1012.99]}
    assert one.image == Image("http://l")
    assert any("average_rating, rating_number, bought_together" in note for note in report.notes)
    assert report.findings["item repeated"].rows == 1


def test_categories_in_lists_of_lists_and_prices_without_a_number(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text(
        "{'asin': '1', 'categories': [['Toys', 'Games'], ['Toys']], 'price': 'see page', 'imUrl': ''}"
    )
    one = items_of(path)["1"]
    assert list(one.item.categories) == ["Toys", "Games"] and not one.item.attributes and one.image is None


def test_images_as_paths_beside_the_file_or_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,image_path\n1,Tea,pictures/1.png\n2,Milk,\n")
    found = items_of(tmp_path / "items.csv")
    assert found["1"].image == Image(str(tmp_path / "pictures" / "1.png")) and found["2"].image is None
    assert not found["1"].item.attributes, "a path is not an attribute"
    table = {"item_id": ["1"], "image": [{"bytes": b"\x89PNG", "path": "1.png"}]}
    pq.write_table(pa.table(table), tmp_path / "items.parquet")
    assert items_of(tmp_path / "items.parquet")["1"].image == Image(content=b"\x89PNG")


def test_news_with_and_without_an_abstract(tmp_path: Path) -> None:
    (tmp_path / "news.tsv").write_text(
        'N1\tsports\tgolf\tA "quoted" title\tWhat it says\thttps://x\t[]\t[]\nN2\tnews\tworld\tB\t\thttps://y\t[]\t[]\n'
    )
    found = items_of(tmp_path / "news.tsv")
    assert found["N1"].item.title == 'A "quoted" title' and found["N1"].item.description == "What it says"
    assert list(found["N2"].item.categories) == ["news", "world"]
    assert found["N2"].item.description == "" and not found["N2"].item.attributes


def test_retailrocket_items_get_the_latest_category_and_its_ancestors(tmp_path: Path) -> None:
    (tmp_path / "properties.csv").write_text(
        "timestamp,itemid,property,value\n"
        "1435460400000,1,categoryid,30\n1433041200000,1,categoryid,99\n"
        "1433041200000,1,790,n552.000 639502\n1433041200000,2,available,1\n1433041200000,3,categoryid,50\n"
    )
    (tmp_path / "tree.csv").write_text("categoryid,parentid\n30,20\n20,10\n10,\n50,51\n51,50\n")
    found = items_of(tmp_path / "properties.csv", tmp_path / "tree.csv")
    assert list(found["1"].item.categories) == ["30", "20", "10"], (
        "the latest by its own time, and its parents"
    )
    assert list(found["3"].item.categories) == ["50", "51"], "a cycle ends"
    assert attributes(found["2"].item) == {"available": ["1"]} and not found["1"].item.attributes
    with pytest.raises(UnreadableFile, match="names no item"):
        read_items([tmp_path / "tree.csv"])


def test_anonymous_attributes_become_categories(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"4": [1, 2, 0], "007": [1], "8": []}))
    rows, (report,) = read_items([tmp_path / "a.json"])
    assert {row.item.item_id: list(row.item.categories) for row in rows} == {
        "4": ["1", "2", "0"],
        "007": ["1"],
        "8": [],
    }
    assert report.format == "attributes" and report.kept == 3
    (tmp_path / "b.json").write_text('{"4": [1,\n}')
    with pytest.raises(UnreadableFile, match="line 1: not JSON"):
        read_items([tmp_path / "b.json"])
    (tmp_path / "c.json").write_text('{"4": 1}')
    with pytest.raises(UnreadableFile, match="item '4': expected a list of attribute ids"):
        read_items([tmp_path / "c.json"])
