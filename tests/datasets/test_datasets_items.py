"""Item files as people have them."""

from pathlib import Path

from datasets.items import ItemFormat, read_items


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
    items, report = read_items(path, ItemFormat(domain="film"))
    by_id = {item.item_id: item for item in items}
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
    (item,), _ = read_items(path, ItemFormat())
    assert (
        item.numbers["price"] == 4.5
        and item.attributes["brand"] == "Acme"
        and item.description == "green loose"
    )
