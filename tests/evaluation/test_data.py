"""What a model reads of an item."""

from pathlib import Path

from configuration.settings import Settings
from evaluation.data import data_of, item_texts, labelled, text_attributes
from inference.bundle.bundle import MAX_TEXT_ATTRIBUTES, read
from models.training.settings import TrainSettings
from readers.files import Files
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from recstream.v1.item_pb2 import Attribute, Item


def shoe(number: int, **attributes: Attribute) -> Item:
    return Item(item_id=f"i{number}", title="Shoe", attributes=attributes)


def texts(*values: str) -> Attribute:
    return Attribute(texts=values)


ITEMS = [
    shoe(0, brand=texts("Acme"), price=Attribute(numbers=[3])),
    shoe(1, brand=texts("Ajax"), color=texts("red", "blue")),
    shoe(2, brand=texts("Ajax"), none=Attribute()),
]


def events(folder: Path) -> Interactions:
    path = folder / "events.csv"
    path.write_text("user,item,time,rating\nann,i0,1000000000,5\n")
    return read_interactions([path])[0]


def test_by_default_a_training_reads_the_attributes_in_which_its_items_have_texts() -> None:
    assert text_attributes(ITEMS) == ("brand", "color")
    assert text_attributes([]) == ()


def test_of_many_attributes_the_most_frequent_are_read() -> None:
    rare = [
        shoe(n, **{f"only-{n:04}": texts("x"), "all": texts("y")}) for n in range(MAX_TEXT_ATTRIBUTES + 9)
    ]
    found = text_attributes(rare)
    assert len(found) == MAX_TEXT_ATTRIBUTES and found[0] == "all" and found[-1] == "only-0998"
    assert TrainSettings(text_attributes=found).text_attributes == found


def test_an_item_is_read_as_a_training_or_as_a_bundle_reads_it(tmp_path: Path, bundle: Path) -> None:
    files = Files(events(tmp_path), ITEMS, [])
    assert [item.text for item in item_texts(files, ["color"])] == ["Shoe", "Shoe. color: red, blue", "Shoe"]
    assert data_of(files, Settings()).text_attributes == ("brand", "color")
    chosen = Settings(train=TrainSettings(text_attributes=("brand",)))
    assert data_of(files, chosen).items[0].text == "Shoe. brand: Acme"
    without = data_of(files, chosen, read(bundle))
    assert [item.text for item in without.items] == ["Shoe"] * 3 and without.text_attributes == ()


def test_items_with_numeric_categories_and_numbers_alone_have_labels() -> None:
    bare = Item(item_id="a", categories=["17"], attributes={"price": Attribute(numbers=[3])})
    assert labelled([bare])
    assert not labelled([bare, Item(item_id="b", attributes={"brand": texts("Acme")})])
