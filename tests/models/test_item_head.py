"""What an item does not have is as if it had never been a modality; what it has moves its vector."""

import torch

from models.network.item_tower import ItemHead


def inputs(items: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(items, 6), torch.arange(items) % 3, torch.randn(items, 4)


def heads(**more: object) -> tuple[ItemHead, ItemHead]:
    """A head of text alone and one with images, alike in all else."""
    torch.manual_seed(1)
    plain = ItemHead(6, 8, 3, 0.0, 0.0, **more).eval()  # type: ignore[arg-type]
    seeing = ItemHead(6, 8, 3, 0.0, 0.0, {"image": 4}, **more).eval()  # type: ignore[arg-type]
    seeing.load_state_dict(plain.state_dict(), strict=False)
    return plain, seeing


def test_an_absent_modality_is_text_and_id_alone() -> None:
    text, index, image = inputs()
    for unit in (False, True):
        plain, seeing = heads(unit=unit)
        expected = plain(text, index)
        torch.testing.assert_close(seeing(text, index), expected)
        torch.testing.assert_close(seeing(text, index, {"image": torch.zeros_like(image)}), expected)
        image[2] = 0
        found = seeing(text, index, {"image": image})
        torch.testing.assert_close(found[2], expected[2])
        assert ((found - expected).abs().amax(1) > 1e-3).tolist() == [True, True, False, True, True]


def test_modalities_are_dropped_whole_in_training_only() -> None:
    text, index, image = inputs(400)
    _, seeing = heads()
    seeing.media_dropout = 0.3
    without = seeing(text, index)
    torch.testing.assert_close(seeing(text, index, {"image": image}), seeing(text, index, {"image": image}))
    seeing.train()
    same = (seeing(text, index, {"image": image}) - without).abs().amax(1) < 1e-6
    assert 0.2 < same.float().mean() < 0.4


def test_whole_ids_are_dropped_and_an_unknown_item_has_none() -> None:
    text, index, _ = inputs(400)
    head = ItemHead(6, 8, 3, 0.0, 0.25)
    with torch.no_grad():
        head.ids.weight[1:] += 1
    of_text = head.eval()(text, torch.zeros_like(index))
    known = index > 0
    assert torch.equal(head(text, index)[~known], of_text[~known])
    dropped = ((head.train()(text, index) - of_text).abs().amax(1) < 1e-6)[known]
    assert 0.15 < dropped.float().mean() < 0.35


def test_unit_vectors_stay_on_the_sphere() -> None:
    text, index, image = inputs()
    _, seeing = heads(unit=True)
    torch.testing.assert_close(seeing(text, index, {"image": image}).norm(dim=1), torch.ones(5))


def test_standardising_takes_a_narrow_cone_apart_and_is_part_of_the_model() -> None:
    torch.manual_seed(0)
    cone = torch.nn.functional.normalize(
        torch.randn(200, 6) * 0.05 + torch.tensor([1.0, 0, 0, 0, 0, 0]), dim=1
    )
    head = ItemHead(6, 8, 3, 0.0, 0.0).eval()
    head.standardise(cone)
    spread = (cone - head.text_mean) * head.text_scale
    torch.testing.assert_close(spread.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(spread.square().sum(1).mean(), torch.tensor(1.0), atol=1e-3, rtol=0)
    again = ItemHead(6, 8, 3, 0.0, 0.0).eval()
    again.load_state_dict(head.state_dict())
    index = torch.zeros(200, dtype=torch.long)
    torch.testing.assert_close(again(cone, index), head(cone, index))


def world(items: int = 300) -> tuple[torch.Tensor, torch.Tensor, ItemHead]:
    """Texts [n, 6] of length one, indices (0 for the last third), and a head whose whole vectors follow the texts, by
    what their ids add and the head does not know."""
    torch.manual_seed(0)
    text = torch.nn.functional.normalize(torch.randn(items, 6), dim=1)
    index = torch.arange(1, items + 1)
    head = ItemHead(6, 8, items, 0.1, 0.2).eval()
    hidden = torch.nn.functional.linear(text, torch.randn(8, 6) * 3, torch.randn(8))
    with torch.no_grad():
        head.ids.weight[1:] = hidden - head.read(text)
    index[items * 2 // 3 :] = 0
    return text, index, head


def test_an_item_without_events_gets_the_vector_that_its_text_foretells() -> None:
    text, index, head = world()
    whole = head(text, torch.arange(1, 301))
    unseen = index == 0
    before = (head(text, index) - whole)[unseen].norm()
    head.foretell_unseen(text, index)
    assert (head(text, index) - whole)[unseen].norm() < before / 5
    # Those with events keep theirs.
    assert torch.equal(head(text, index)[~unseen], whole[~unseen])
    again = ItemHead(6, 8, 300, 0.1, 0.2).eval()
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(text, index), head(text, index))


def test_what_is_foretold_is_learned_from_items_with_events_alone() -> None:
    text, index, head = world()
    head.foretell_unseen(text, index)
    found = head(text[:1], torch.zeros(1, dtype=torch.long))
    other = text.clone()
    other[index == 0] = 7.0
    head.foretell_unseen(other, index)
    assert torch.equal(head(text[:1], torch.zeros(1, dtype=torch.long)), found)


def test_without_any_event_nothing_is_foretold() -> None:
    text, index, head = world()
    before = head(text, torch.zeros_like(index))
    head.foretell_unseen(text, torch.zeros_like(index))
    assert torch.equal(head(text, torch.zeros_like(index)), before)


def test_an_item_begins_with_the_vector_that_it_had_without_events() -> None:
    text, index, head = world()
    head.foretell_unseen(text, index)
    new = torch.nonzero(index == 0)[:4, 0]
    before = head(text[new], index[new])
    head.begin(new + 1, text[new])
    torch.testing.assert_close(head(text[new], new + 1), before)


def test_dropped_ids_teach_the_head_and_not_what_is_foretold() -> None:
    text, index, head = world()
    head.foretell_unseen(text, index)
    head.head.eval()
    of_head = head.read(text)
    head.ids.train()
    head.training = True
    head.id_dropout = 0.999999
    known = index > 0
    torch.testing.assert_close(head(text, index)[known], of_head[known])
